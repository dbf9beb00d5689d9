"""Where an item whose code is taken looks first: the other codes, the closest ones ahead."""

from collections.abc import Callable

import numpy as np

_ROWS_AT_ONCE = 64


def cosine_lists(centroids: np.ndarray, count: int) -> np.ndarray:
    """The codes most similar to each, by the cosine.

    Args:
        centroids: (K, D) float32.
        count: length of a list; shortened to what exists.

    Returns:
        (K, m) int32 numbers of codes, similar ones first.
    """
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    units = centroids / np.where(lengths > 0.0, lengths, 1.0)
    return _lists(lambda rows: 1.0 - units[rows] @ units.T, len(units), count)


def distance_lists(centroids: np.ndarray, count: int) -> np.ndarray:
    """The codes closest to each, by squared distance.

    Args:
        centroids: (K, D) float32.
        count: length of a list; shortened to what exists.

    Returns:
        (K, m) int32 numbers of codes, close ones first.
    """
    squares = np.square(centroids).sum(axis=1)

    def costs(rows: slice) -> np.ndarray:
        return squares[rows, None] + squares - 2.0 * centroids[rows] @ centroids.T

    return _lists(costs, len(centroids), count)


def _lists(costs_of: Callable[[slice], np.ndarray], num_codes: int, count: int) -> np.ndarray:
    """The other codes, by what it costs to go there.

    Args:
        costs_of: rows -> (rows, K) float32, taken for 0 where below it.
        num_codes: K.
        count: length of a list; shortened to what exists.

    Returns:
        (K, m) int32, cheapest first, ties by number.
    """
    count = min(count, num_codes - 1)
    lists = np.empty((num_codes, count), np.int32)
    numbers = np.arange(num_codes, dtype=np.uint64)
    for start in range(0, num_codes, _ROWS_AT_ONCE):
        # The bits of a float that is not negative order like the float: one sort, ties by number.
        costs = np.maximum(costs_of(slice(start, start + _ROWS_AT_ONCE)), np.float32(0.0))
        keys = (costs.view(np.uint32).astype(np.uint64) << np.uint64(32)) | numbers
        own = np.arange(len(keys))
        keys[own, start + own] = np.iinfo(np.uint64).max
        keys.partition(count - 1, axis=1)
        nearest = np.sort(keys[:, :count], axis=1)
        lists[start : start + len(keys)] = nearest & np.uint64(0xFFFFFFFF)
    return lists
