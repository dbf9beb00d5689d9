"""Lists of lists as one flat array and offsets."""

import numpy as np


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(N,) lengths -> (N + 1,) int64 offsets, beginning with 0."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def positions_of(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The ranges ``starts[i] : starts[i] + lengths[i]``, one after another.

    Args:
        starts: (N,) int64.
        lengths: (N,) int64, not negative.

    Returns:
        (sum of ``lengths``,) int64.
    """
    offsets = offsets_of(lengths)
    shifts = np.repeat(starts - offsets[:-1], lengths)
    return np.arange(offsets[-1], dtype=np.int64) + shifts
