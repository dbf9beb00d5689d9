"""One semantic ID per item: who shares one moves to a free sibling.

``paper`` is the published greedy algorithm (README and figure of section 3.2) with the occupancy
kept up to date: items are visited by number; an item whose ID is taken keeps its prefix and takes
the first free one of the last-level codes most similar to its own, or else a random one, taken or
not. ``exact`` lets the items nearest to their centroid keep their code; every other one, nearest
first, looks at the free siblings nearest to its code, among all of them, and takes the one nearest
to itself. A prefix with more items than room must have been relieved before (``spill``); then no
conflict remains.

Both work prefix by prefix, in parallel; ties go to the smaller item number.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numba import prange

from model.compiled import compiled
from model.tokenizer.limits import group
from model.tokenizer.neighbor_lists import cosine_lists, distance_lists

LOOKED_AT = 16  # free siblings; more brings a moved item hardly nearer
_LISTED = 1024  # codes in a list; where all of them are taken, every code is looked at
_RESIDUAL_BYTES = 2**28  # of float32 residuals in memory at once
_RUNS = 4096  # of prefixes that share their counts: zeroing them costs more than a few items do


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
    """Nearest first, full search; see the module's text.

    Args:
        prefixes: (N,) int64 from 0; at most ``K * capacity`` items of each, pinned ones aside.
        codes: (N,) int32 last-level codes, from 0.
        distances: (N,) float32 to the centroid of the code.
        pinned: (N,) bool, items that keep their code whatever happens.
        centroids: (K, dim) float32 of the last level.
        residuals_of: (n,) positions -> (n, dim) float32, what the levels before left over.
        capacity: items per semantic ID.

    Returns:
        (N,) int32 new codes; beside pinned items nobody makes a code exceed its capacity.
    """
    order, offsets = group(prefixes)
    moving = _crowded_out(order, offsets, codes, distances, pinned, len(centroids), capacity)
    movers = order[moving[order]]
    if len(movers) == 0:
        return codes.copy()
    mover_offsets = np.append(0, np.cumsum(moving[order]))[offsets]
    lists = distance_lists(centroids, _LISTED)
    placed = codes.copy()
    for begin, end in _parts(mover_offsets, _RESIDUAL_BYTES // (4 * centroids.shape[1])):
        first = mover_offsets[begin]
        part = movers[first : mover_offsets[end]]
        _settle_movers(
            order,
            offsets[begin : end + 1],
            part,
            mover_offsets[begin : end + 1] - first,
            moving,
            distances,
            residuals_of(part),
            centroids,
            lists,
            capacity,
            placed,
        )
    return placed


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
    """SplitMix64: a random-looking number that depends on its argument alone."""
    number = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled()
def _runs(num_prefixes):  # pragma: no cover
    """Bounds of runs of prefixes, (R + 1,): even ones, and no more than serve any machine."""
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
def _crowded_out(order, offsets, codes, distances, pinned, num_codes, capacity):  # pragma: no cover
    """(N,) bool: items that are not among the nearest of their semantic ID."""
    moving = np.zeros(len(codes), np.bool_)
    bounds = _runs(len(offsets) - 1)
    for run in prange(len(bounds) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        for prefix in range(bounds[run], bounds[run + 1]):
            items = order[offsets[prefix] : offsets[prefix + 1]]
            for item in items:
                if pinned[item]:
                    occupancy[codes[item]] += 1
            for item in items[np.argsort(distances[items], kind="mergesort")]:
                if pinned[item]:
                    continue
                if occupancy[codes[item]] < capacity:
                    occupancy[codes[item]] += 1
                else:
                    moving[item] = True
            for item in items:
                occupancy[codes[item]] = 0
    return moving


@compiled(parallel=True)
def _settle_movers(
    order,
    offsets,
    movers,
    mover_offsets,
    moving,
    distances,
    residuals,
    centroids,
    lists,
    capacity,
    placed,
):  # pragma: no cover
    """Give the movers of some prefixes, nearest first, their places; writes ``placed``."""
    num_codes = len(lists)
    bounds = _runs(len(offsets) - 1)
    for run in prange(len(bounds) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        taken = np.zeros(num_codes, np.int32)  # entries at a list's head that are full for good
        for prefix in range(bounds[run], bounds[run + 1]):
            first, last = mover_offsets[prefix], mover_offsets[prefix + 1]
            if first == last:
                continue
            items = order[offsets[prefix] : offsets[prefix + 1]]
            for item in items:
                if not moving[item]:
                    occupancy[placed[item]] += 1
            for item in movers[first:last]:
                taken[placed[item]] = 0
            by_distance = np.argsort(distances[movers[first:last]], kind="mergesort")
            for row in first + by_distance:
                item = movers[row]
                code = _best_free(
                    placed[item], residuals[row], occupancy, taken, centroids, lists, capacity
                )
                placed[item] = code
                occupancy[code] += 1
            for item in items:
                occupancy[placed[item]] = 0


@compiled()
def _best_free(code, residual, occupancy, taken, centroids, lists, capacity):  # pragma: no cover
    """Of the free codes that come first in a list, the one nearest to the residual."""
    listed = lists.shape[1]
    best, chosen, seen = np.float32(np.inf), np.int32(-1), 0
    place = taken[code]
    while place < listed and seen < LOOKED_AT:
        near = lists[code, place]
        if occupancy[near] < capacity:
            if seen == 0:
                taken[code] = place
            seen += 1
            distance = _squared_distance(residual, centroids[near])
            if distance < best:
                best, chosen = distance, near
        place += 1
    if seen == 0:
        taken[code] = listed
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
