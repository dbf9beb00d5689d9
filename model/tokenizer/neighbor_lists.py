"""Where an item whose code is taken looks first: the other codes, the closest ones ahead."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np

from model.compiled import SETTINGS

_ROWS_AT_ONCE = 64
_BLOCKS_AT_ONCE = 32  # that wait for a thread: 128 MiB for 16,384 codes
_THREADS = SETTINGS.NUMBA_NUM_THREADS  # numpy's selection has one


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
    starts = range(0, num_codes, _ROWS_AT_ONCE)
    with ThreadPoolExecutor(_THREADS) as threads:
        for begin in range(0, len(starts), _BLOCKS_AT_ONCE):
            firsts = starts[begin : begin + _BLOCKS_AT_ONCE]
            costs = [costs_of(slice(first, first + _ROWS_AT_ONCE)) for first in firsts]
            found = threads.map(_nearest, firsts, costs, repeat(count))
            for first, nearest in zip(firsts, found, strict=True):
                lists[first : first + len(nearest)] = nearest
    return lists


def _nearest(first: int, costs: np.ndarray, count: int) -> np.ndarray:
    """(n, count) uint64, the cheapest codes of a block of rows from ``first`` on."""
    # The bits of a float that is not negative order like the float: one sort, ties by number.
    bits = np.maximum(costs, np.float32(0.0)).view(np.uint32)
    keys = bits.astype(np.uint64) << np.uint64(32) | np.arange(costs.shape[1], dtype=np.uint64)
    own = np.arange(len(keys))
    keys[own, first + own] = np.iinfo(np.uint64).max
    keys.partition(count - 1, axis=1)
    return np.sort(keys[:, :count], axis=1) & np.uint64(0xFFFFFFFF)
