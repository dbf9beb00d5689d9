"""Groups of limited size: which items have to leave, and where they go."""

import numpy as np

from model.compiled import compiled


def group(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions by key, ascending within a key.

    Returns:
        (N,) int64 positions; (G + 1,) int64 where each of the G keys that occur begins.
    """
    if len(keys) and keys.max() < 4 * len(keys):
        order = _counting_sort(keys, int(keys.max()) + 1)
    else:
        order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.ones(len(keys), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return order, np.append(np.flatnonzero(is_first), len(keys))


def overflow(
    groups: np.ndarray, distances: np.ndarray, pinned: np.ndarray, limit: int
) -> np.ndarray:
    """Items that their group has no room for: all but the ``limit`` nearest, pinned ones first.

    Args:
        groups: (N,) int64 from 0, not necessarily consecutive.
        distances: (N,) float32, of each item to its group's centre.
        pinned: (N,) bool, items that cannot leave.
        limit: items that a group may hold.

    Returns:
        (n,) positions, nearest first, ties by position.
    """
    order, offsets = group(groups)
    sizes = np.diff(offsets)
    crowded = order[np.repeat(sizes > limit, sizes)]
    urgency = np.where(pinned[crowded], -1.0, distances[crowded])
    crowded = crowded[np.lexsort((crowded, urgency))]
    order, offsets = group(groups[crowded])
    rank = np.empty(len(crowded), np.int64)
    rank[order] = np.arange(len(crowded)) - np.repeat(offsets[:-1], np.diff(offsets))
    return crowded[(rank >= limit) & ~pinned[crowded]]


def room_beside(
    parents: np.ndarray, codes: np.ndarray, leaving: np.ndarray, size: int, room: int
) -> tuple[np.ndarray, np.ndarray]:
    """Free room of every code, for the prefixes that items leave only.

    Returns:
        (n,) row of each leaving item; (P, size) int64 room once they all have left.
    """
    crowded, rows = np.unique(parents[leaving], return_inverse=True)
    staying = np.isin(parents, crowded)
    staying[leaving] = False
    places = np.searchsorted(crowded, parents[staying]) * size + codes[staying]
    taken = np.bincount(places, minlength=len(crowded) * size)
    return rows, (room - taken).reshape(-1, size)


@compiled()
def _counting_sort(keys: np.ndarray, num_keys: int) -> np.ndarray:  # pragma: no cover
    """(N,) int64 positions by key, ascending within a key."""
    place = np.zeros(num_keys + 1, np.int64)
    for key in keys:
        place[key + 1] += 1
    for key in range(num_keys):
        place[key + 1] += place[key]
    order = np.empty(len(keys), np.int64)
    for position in range(len(keys)):
        order[place[keys[position]]] = position
        place[keys[position]] += 1
    return order


@compiled()
def settle(
    costs: np.ndarray, parents: np.ndarray, free: np.ndarray
) -> np.ndarray:  # pragma: no cover
    """Assign each item in turn, greedily, to its cheapest group that has room.

    Args:
        costs: (n, K) float32 of every group.
        parents: (n,) int64 row of ``free``.
        free: (P, K) int64, room of every group; what is taken is subtracted in place. Every
            parent must have room for its items.

    Returns:
        (n,) int32 groups, ties by number.
    """
    chosen = np.empty(len(costs), np.int32)
    for item in range(len(costs)):
        best, code = np.inf, -1
        for k in range(costs.shape[1]):
            if free[parents[item], k] > 0 and costs[item, k] < best:
                best, code = costs[item, k], k
        free[parents[item], code] -= 1
        chosen[item] = code
    return chosen
