"""Re-assignment: one semantic ID per item; items that share one move to a free sibling.

``paper`` is the published greedy algorithm (README and figure of section 3.2) with the occupancy
kept up to date: items are visited by number; an item whose ID is taken keeps its prefix and takes
the first free one of the last-level codes most similar to its own, or else a random one, taken or
not. ``exact`` lets the items nearest to their centroid keep their code; every other item, nearest
first, looks at the free siblings nearest to its code, of all codes, and takes the one nearest to
itself. A prefix with more items than room must have been relieved before (``spill``); then no
conflict remains.

Both work prefix by prefix, in parallel; ties go to the smaller item number.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numba import prange

from model.compiled import compiled
from model.tokenizer.limits import group
from model.tokenizer.neighbor_lists import cosine_lists, distance_lists
from model.tokenizer.radix_sort import radix_sorted

LOOKED_AT = 16  # free siblings; more hardly bring a moved item nearer
_LISTED = 1024  # codes in a list; where all of them are taken, every code is looked at
_RESIDUAL_BYTES = 2**24  # of float32 residuals at once; larger blocks get new pages each time
_RUNS = 4096  # of prefixes that share a count array: allocating one costs more than a few items


def reassign_paper(
    prefixes: np.ndarray,
    codes: np.ndarray,
    pinned: np.ndarray,
    centroids: np.ndarray,
    *,
    neighbors: int,
    capacity: int,
    seed: int,
) -> np.ndarray:
    """The published algorithm.

    Args:
        prefixes: (N,) int64 from 0, all levels but the last as one number; items in order.
        codes: (N,) int32 last-level codes, from 0.
        pinned: (N,) bool, items that keep their code whatever happens.
        centroids: (K, dim) float32 of the last level.
        neighbors: codes that are tried, the most similar ones by cosine.
        capacity: items per semantic ID.
        seed: of the random fall-back, which depends on the item's position alone.

    Returns:
        (N,) int32 new codes.
    """
    lists = cosine_lists(centroids, neighbors)
    order, offsets = group(prefixes)
    return _paper(order, offsets, codes, pinned, lists, capacity, seed)


def reassign_exact(
    prefixes: np.ndarray,
    codes: np.ndarray,
    distances: np.ndarray,
    pinned: np.ndarray,
    centroids: np.ndarray,
    residuals_of: Callable[[np.ndarray], np.ndarray],
    *,
    capacity: int,
) -> np.ndarray:
    """Nearest first, full search; see the module docstring.

    Args:
        prefixes: (N,) int64 from 0; at most ``K * capacity`` items of each, pinned ones aside.
        codes: (N,) int32 last-level codes, from 0.
        distances: (N,) float32 to the centroid of the code.
        pinned: (N,) bool, items that keep their code whatever happens.
        centroids: (K, dim) float32 of the last level.
        residuals_of: (n,) positions -> (n, dim) float32 residuals of the levels before.
        capacity: items per semantic ID.

    Returns:
        (N,) int32 new codes; only pinned items can make a code exceed its capacity.
    """
    order, offsets = group(prefixes)
    order, placed, moving = _nearest_first(
        order, offsets, codes, distances.view(np.uint32), pinned, len(centroids), capacity
    )
    movers = order[moving]
    if len(movers) == 0:
        return codes.copy()
    mover_offsets = np.append(0, np.cumsum(moving))[offsets]
    full_at_most = int(np.diff(offsets).max()) // capacity
    lists = distance_lists(centroids, min(_LISTED, full_at_most + LOOKED_AT))
    for begin, end in _parts(mover_offsets, _RESIDUAL_BYTES // (4 * centroids.shape[1])):
        first, last = mover_offsets[begin], mover_offsets[end]
        _settle_movers(
            offsets[begin : end + 1],
            mover_offsets[begin:end] - first,
            moving,
            residuals_of(movers[first:last]),
            centroids,
            lists,
            capacity,
            placed,
        )
    result = np.empty_like(codes)
    result[order] = placed
    return result


def _parts(mover_offsets: np.ndarray, movers_at_once: int) -> Iterator[tuple[int, int]]:
    """As many whole prefixes at a time as fit, at least one."""
    begin = 0
    while begin < len(mover_offsets) - 1:
        limit = mover_offsets[begin] + movers_at_once
        end = max(begin + 1, int(np.searchsorted(mover_offsets, limit, side="right")) - 1)
        yield begin, end
        begin = end


@compiled()
def _mixed(number):  # pragma: no cover
    """SplitMix64, a hash: a pseudo-random number that depends on its argument alone."""
    number = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled()
def _runs(num_prefixes):  # pragma: no cover
    """(R + 1,) bounds of even runs of prefixes, enough of them to keep all threads busy."""
    runs = min(num_prefixes, _RUNS)
    return np.arange(runs + 1) * num_prefixes // max(runs, 1)


@compiled(parallel=True)
def _paper(order, offsets, codes, pinned, lists, capacity, seed):  # pragma: no cover
    placed = codes.copy()
    num_codes = len(lists)
    bounds = _runs(len(offsets) - 1)
    for run in prange(len(bounds) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        for prefix in range(bounds[run], bounds[run + 1]):
            items = order[offsets[prefix] : offsets[prefix + 1]]
            for item in items:
                if pinned[item]:
                    occupancy[codes[item]] += 1
            for item in items:
                if pinned[item]:
                    continue
                code = codes[item]
                if occupancy[code] >= capacity:
                    found = False
                    for near in lists[code]:
                        if occupancy[near] < capacity:
                            code, found = np.int32(near), True
                            break
                    if not found:
                        draw = _mixed(_mixed(seed) + np.uint64(item)) % np.uint64(num_codes - 1)
                        code = np.int32((code + 1 + np.int64(draw)) % num_codes)
                occupancy[code] += 1
                placed[item] = code
            for item in items:
                occupancy[placed[item]] = 0
    return placed


@compiled(parallel=True)
def _nearest_first(
    order, offsets, codes, distance_bits, pinned, num_codes, capacity
):  # pragma: no cover
    """(N,) items of each prefix by distance; their codes; which find their semantic ID full."""
    nearest_first = np.empty_like(order)
    placed = np.empty_like(codes)
    moving = np.zeros(len(codes), np.bool_)
    bounds = _runs(len(offsets) - 1)
    for run in prange(len(bounds) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        for prefix in range(bounds[run], bounds[run + 1]):
            begin, end = offsets[prefix], offsets[prefix + 1]
            packed = np.empty(end - begin, np.uint64)
            for row in range(begin, end):
                # The bits of a non-negative float order like the float.
                distance = np.uint64(distance_bits[order[row]])
                packed[row - begin] = distance << np.uint64(32) | np.uint64(row - begin)
            packed = radix_sorted(packed, np.empty_like(packed))
            for row in range(begin, end):
                item = order[begin + np.int64(packed[row - begin] & np.uint64(0xFFFFFFFF))]
                nearest_first[row] = item
                placed[row] = codes[item]
            for row in range(begin, end):
                if pinned[nearest_first[row]]:
                    occupancy[placed[row]] += 1
            for row in range(begin, end):
                if pinned[nearest_first[row]]:
                    continue
                if occupancy[placed[row]] < capacity:
                    occupancy[placed[row]] += 1
                else:
                    moving[row] = True
            for row in range(begin, end):
                occupancy[placed[row]] = 0
    return nearest_first, placed, moving


@compiled(parallel=True)
def _settle_movers(
    offsets, mover_offsets, moving, residuals, centroids, lists, capacity, placed
):  # pragma: no cover
    """Give the movers of some prefixes, nearest first, their places; writes ``placed``."""
    num_codes = len(lists)
    bounds = _runs(len(mover_offsets))
    for run in prange(len(bounds) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        taken = np.zeros(num_codes, np.int32)  # entries at a list's head that are full for good
        free = np.empty(LOOKED_AT + 1, np.int32)
        for prefix in range(bounds[run], bounds[run + 1]):
            begin, end = offsets[prefix], offsets[prefix + 1]
            for row in range(begin, end):
                if moving[row]:
                    taken[placed[row]] = 0
                else:
                    occupancy[placed[row]] += 1
            mover = mover_offsets[prefix]
            for row in range(begin, end):
                if moving[row]:
                    code = _best_free(
                        placed[row],
                        residuals[mover],
                        occupancy,
                        taken,
                        free,
                        centroids,
                        lists,
                        capacity,
                    )
                    placed[row] = code
                    occupancy[code] += 1
                    mover += 1
            for row in range(begin, end):
                occupancy[placed[row]] = 0


@compiled()
def _best_free(
    code, residual, occupancy, taken, free, centroids, lists, capacity
):  # pragma: no cover
    """Of the free codes that come first in a list, the one nearest to the residual."""
    listed = lists.shape[1]
    place = taken[code]
    while place < listed and occupancy[lists[code, place]] >= capacity:
        place += 1
    taken[code] = place
    seen = 0
    while place < listed and seen < LOOKED_AT:  # branch-free: a branch would be mispredicted
        free[seen] = lists[code, place]
        seen += occupancy[lists[code, place]] < capacity
        place += 1
    best, chosen = np.float32(np.inf), np.int32(-1)
    for near in free[:seen]:
        distance = _squared_distance(residual, centroids[near])
        if distance < best:
            best, chosen = distance, near
    if seen == 0:
        for near in range(len(centroids)):
            if occupancy[near] < capacity:
                distance = _squared_distance(residual, centroids[near])
                if distance < best:
                    best, chosen = distance, np.int32(near)
    return chosen


@compiled(fastmath={"reassoc", "contract"})  # a sum in several lanes
def _squared_distance(left, right):  # pragma: no cover
    total = np.float32(0.0)
    for j in range(len(left)):
        total += (left[j] - right[j]) ** 2
    return total
