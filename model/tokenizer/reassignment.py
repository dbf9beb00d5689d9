"""One semantic ID per item: who shares one moves to a free sibling.

``paper`` is the published greedy algorithm (README and figure of section 3.2) with the occupancy
kept up to date: items are visited by number; an item whose ID is taken keeps its prefix and takes
the first free one of the last-level codes most similar to its own, or else a random one, taken or
not. ``exact`` first lets the items nearest to their centroid keep their code, then gives every
other one, nearest first, the closest free sibling among all; a prefix with more items than
siblings must have been relieved before (``spill``), and then no conflict remains.

Both work prefix by prefix, in parallel; ties go to the smaller item number.
"""

import numpy as np
from numba import njit, prange

_LIST_BYTES = 2**30  # of the neighbour lists; beyond it the rest of a list is by number


def reassign_paper(
    prefixes: np.ndarray,
    codes: np.ndarray,
    pinned: np.ndarray,
    neighbors: np.ndarray,
    *,
    num_codes: int,
    capacity: int,
    seed: int,
) -> np.ndarray:
    """The published algorithm.

    Args:
        prefixes: (N,) int64 from 0, all levels but the last as one number; items in order.
        codes: (N,) int32 last-level codes, from 0.
        pinned: (N,) bool, items that keep their code whatever happens.
        neighbors: (num_codes, m) the codes most similar to each, most similar first.
        num_codes: size of the last codebook.
        capacity: items per semantic ID.
        seed: of the random fall-back, which depends on the item's position alone.

    Returns:
        (N,) int32 new codes.
    """
    order, offsets = group(prefixes)
    return _paper(order, offsets, codes, pinned, neighbors, num_codes, capacity, seed)


def reassign_exact(
    prefixes: np.ndarray,
    codes: np.ndarray,
    distances: np.ndarray,
    pinned: np.ndarray,
    neighbors: np.ndarray,
    *,
    num_codes: int,
    capacity: int,
) -> np.ndarray:
    """Nearest first, full search; see the module's text.

    Args:
        prefixes: (N,) int64 from 0; at most ``num_codes * capacity`` items of each.
        codes: (N,) int32 last-level codes, from 0.
        distances: (N,) float32 to the centroid of the code.
        pinned: (N,) bool, items that keep their code whatever happens.
        neighbors: (num_codes, m) codes by distance, see :func:`neighbor_lists`.
        num_codes: size of the last codebook.
        capacity: items per semantic ID.

    Returns:
        (N,) int32 new codes; beside pinned items nobody makes a code exceed its capacity.

    Raises:
        ValueError: a prefix with more items than its codes have room for.
    """
    order, offsets = group(prefixes)
    if len(codes) and np.diff(offsets).max() > num_codes * capacity and not pinned.any():
        raise ValueError("a prefix has more items than room; spill it first")
    return _exact(order, offsets, codes, distances, pinned, neighbors, num_codes, capacity)


def group(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions by key, ascending within a key.

    Returns:
        (N,) int64 positions; (G + 1,) int64 where each of the G keys that occur begins.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, np.append(starts, len(keys)) if len(keys) else np.zeros(1, np.int64)


def neighbor_lists(distances_of: np.ndarray, count: int) -> np.ndarray:
    """Order every row of a matrix of distances.

    Args:
        distances_of: (K, K) float32, not negative; the diagonal is left out of the lists.
        count: length of a list; shortened to what exists and to a gibibyte of lists.

    Returns:
        (K, m) uint16 or int32, nearest first, ties by number.
    """
    num_codes = len(distances_of)
    dtype = np.uint16 if num_codes <= 2**16 else np.int32
    count = min(count, num_codes - 1, _LIST_BYTES // (num_codes * np.dtype(dtype).itemsize))
    lists = np.empty((num_codes, count), dtype)
    numbers = np.arange(num_codes, dtype=np.uint64)
    for code in range(num_codes):
        # The bits of a float that is not negative order like the float: one sort, ties by number.
        bits = distances_of[code].astype(np.float32).view(np.uint32).astype(np.uint64)
        keys = (bits << np.uint64(32)) | numbers
        keys[code] = np.iinfo(np.uint64).max
        keys.sort()
        lists[code] = (keys[:count] & np.uint64(0xFFFFFFFF)).astype(dtype)
    return lists


def centroid_distances(centroids: np.ndarray) -> np.ndarray:
    """(K, K) float32 squared distances between centroids."""
    squares = np.square(centroids).sum(axis=1)
    products = centroids @ centroids.T
    return np.maximum(squares[:, None] + squares - 2.0 * products, 0.0)


def centroid_dissimilarities(centroids: np.ndarray) -> np.ndarray:
    """(K, K) float32, one minus the cosine; 1 where a centroid is zero."""
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    units = centroids / np.where(lengths > 0.0, lengths, 1.0)
    return np.maximum(1.0 - units @ units.T, 0.0)


@njit(cache=True)
def _mixed(number):  # pragma: no cover
    """SplitMix64: a random-looking number that depends on its argument alone."""
    number = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@njit(parallel=True, cache=True)
def _paper(order, offsets, codes, pinned, neighbors, num_codes, capacity, seed):  # pragma: no cover
    placed = codes.copy()
    for prefix in prange(len(offsets) - 1):
        occupancy = np.zeros(num_codes, np.int32)
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
                for near in neighbors[code]:
                    if occupancy[near] < capacity:
                        code, found = np.int32(near), True
                        break
                if not found:
                    draw = _mixed(_mixed(seed) + np.uint64(item)) % np.uint64(num_codes - 1)
                    code = np.int32((code + 1 + np.int64(draw)) % num_codes)
            occupancy[code] += 1
            placed[item] = code
    return placed


@njit(parallel=True, cache=True)
def _exact(
    order, offsets, codes, distances, pinned, neighbors, num_codes, capacity
):  # pragma: no cover
    placed = codes.copy()
    for prefix in prange(len(offsets) - 1):
        occupancy = np.zeros(num_codes, np.int32)
        items = order[offsets[prefix] : offsets[prefix + 1]]
        for item in items:
            if pinned[item]:
                occupancy[codes[item]] += 1
        by_distance = items[np.argsort(distances[items], kind="mergesort")]
        moving = np.empty(len(items), np.int64)
        num_moving = 0
        for item in by_distance:
            if pinned[item]:
                continue
            if occupancy[codes[item]] < capacity:
                occupancy[codes[item]] += 1
            else:
                moving[num_moving] = item
                num_moving += 1
        looked = np.zeros(num_codes, np.int32)  # a list's first entries, all taken for good
        for item in moving[:num_moving]:
            code = codes[item]
            place = looked[code]
            while occupancy[_listed(neighbors, code, place, num_codes)] >= capacity:
                place += 1
            looked[code] = place
            placed[item] = _listed(neighbors, code, place, num_codes)
            occupancy[placed[item]] += 1
    return placed


@njit(inline="always")
def _listed(neighbors, code, place, num_codes):  # pragma: no cover
    """A code's neighbour at a place; behind the list all codes follow by number."""
    listed = neighbors.shape[1]
    return np.int32(neighbors[code, place] if place < listed else (place - listed) % num_codes)
