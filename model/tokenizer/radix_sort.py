"""Radix sort for kernels that sort several hundred numbers at a time, many times."""

import numpy as np

from model.compiled import compiled

_DIGIT = 8  # bits that one pass sorts by


@compiled()
def radix_sorted(packed: np.ndarray, spare: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Stable sort by the upper half of each number.

    Args:
        packed: (n,) uint64, a key of 32 bits above whatever goes with it; overwritten.
        spare: (n,) uint64, overwritten.

    Returns:
        (n,) uint64, one of the two arrays.
    """
    if len(packed) == 0:
        return packed
    low = packed.min() >> np.uint64(32) << np.uint64(32)
    span = packed.max() - low
    shift = np.uint64(32)
    ends = np.empty((1 << _DIGIT) + 1, np.int64)
    while shift < 64 and span >> shift:
        ends[:] = 0
        for number in packed:
            ends[_digit(number, low, shift) + 1] += 1
        for digit in range(1 << _DIGIT):
            ends[digit + 1] += ends[digit]
        for number in packed:
            digit = _digit(number, low, shift)
            spare[ends[digit]] = number
            ends[digit] += 1
        packed, spare = spare, packed
        shift += np.uint64(_DIGIT)
    return packed


@compiled()
def _digit(number, low, shift):  # pragma: no cover
    return np.int64((number - low) >> shift & np.uint64((1 << _DIGIT) - 1))
