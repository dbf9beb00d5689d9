"""Neighbour lists of codes, closest first: where an item whose code is taken looks first."""

import numpy as np
import torch
from numba import prange

from model.compiled import compiled
from model.tokenizer.radix_sort import radix_sorted

_ROWS_AT_ONCE = 1024  # 64 MiB of costs for 16,384 codes
_BINS = 1024  # of a histogram of costs, to preselect the cheapest before sorting


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
    halves = np.full(len(units), 0.5, np.float32)
    return _lists(units, units, halves, count)


def distance_lists(centroids: np.ndarray, count: int) -> np.ndarray:
    """The codes closest to each, by squared distance.

    Args:
        centroids: (K, D) float32.
        count: length of a list; shortened to what exists.

    Returns:
        (K, m) int32 numbers of codes, close ones first.
    """
    return _lists(2.0 * centroids, centroids, np.square(centroids).sum(axis=1), count)


def _lists(left: np.ndarray, right: np.ndarray, parts: np.ndarray, count: int) -> np.ndarray:
    """The other codes, by the cost of moving to them.

    Args:
        left: (K, D) float32.
        right: (K, D) float32.
        parts: (K,) float32; the cost of moving from code i to code j is
            ``parts[i] + parts[j] - left[i] @ right[j]``, and at least 0.
        count: length of a list; shortened to what exists.

    Returns:
        (K, m) int32, cheapest first, ties by number.
    """
    lists = np.empty((len(left), min(count, len(left) - 1)), np.int32)
    # torch and the kernel share their threads; numpy's own would busy-wait beside the kernel.
    ours, others = torch.tensor(left), torch.tensor(right)
    for first in range(0, len(left), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        _cheapest((ours[rows] @ others.T).numpy(), parts, first, lists[rows])
    return lists


@compiled(parallel=True)
def _cheapest(products, parts, first, lists):  # pragma: no cover
    """Write the cheapest codes for rows from ``first`` on, each row's own code left out."""
    for row in prange(len(products)):
        own = first + row
        costs = np.empty(len(parts), np.float32)
        for code in range(len(parts)):
            costs[code] = max(parts[own] + parts[code] - products[row, code], np.float32(0.0))
        # The bits of a non-negative float order like the float.
        packed = _cheap_ones(costs.view(np.uint32), own, lists.shape[1])
        packed = radix_sorted(packed, np.empty_like(packed))
        for place in range(lists.shape[1]):
            lists[row, place] = np.int32(packed[place] & np.uint64(0xFFFFFFFF))


@compiled()
def _cheap_ones(costs, own, count):  # pragma: no cover
    """The ``count`` cheapest codes and a few more, by number, each packed below its cost."""
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for code in range(len(costs)):
        if code != own:
            low, high = min(low, costs[code]), max(high, costs[code])
    shift = np.uint32(0)
    while (high - low) >> shift >= _BINS:
        shift += np.uint32(1)
    held = np.zeros(_BINS, np.int64)
    for code in range(len(costs)):
        if code != own:
            held[(costs[code] - low) >> shift] += 1
    last, total = 0, held[0]
    while total < count:
        last += 1
        total += held[last]
    found = np.empty(total, np.uint64)
    place = 0
    for code in range(len(costs)):
        if code != own and (costs[code] - low) >> shift <= last:
            found[place] = np.uint64(costs[code]) << np.uint64(32) | np.uint64(code)
            place += 1
    return found
