"""States of an item's vector; a zero vector is not a missing one."""

import numpy as np

from model.dataset.csr import positions_of
from model.dataset.vector_chunk import VectorChunk

MISSING, VALID, NULL, ZERO, NOT_FINITE, WRONG_WIDTH = range(6)
STATE_NAMES = ("missing", "valid", "null", "zero", "not_finite", "wrong_width")


def judge(chunk: VectorChunk, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The state of every row, and the vectors of the valid ones.

    Vectors are judged as they will be stored: a number beyond float16 is not finite, one below it
    is zero.

    Returns:
        (rows,) int8 states; (valid rows, width) float16.
    """
    lengths = np.diff(chunk.offsets)
    states = np.full(len(lengths), WRONG_WIDTH, np.int8)
    fits = lengths == width
    starts = chunk.offsets[:-1][fits]
    if fits.all():
        values = chunk.values
    else:
        values = chunk.values[positions_of(starts, np.full(len(starts), width))]
    with np.errstate(over="ignore"):
        vectors = values.reshape(-1, width).astype(np.float16)
    found = np.full(len(vectors), VALID, np.int8)
    found[~vectors.any(axis=1)] = ZERO
    found[~np.isfinite(vectors).all(axis=1)] = NOT_FINITE
    states[fits] = found
    states[chunk.null] = NULL
    return states, vectors[(found == VALID) & ~chunk.null[fits]]
