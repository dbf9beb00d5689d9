"""Relief for a prefix that holds more items than there are semantic IDs below it.

Level by level from the top, a code may hold as many items as its subtree has room for. The items
farthest from their centroid leave a crowded one for the nearest sibling with room, and choose
their deeper codes again. So wherever the whole codebook has room, every item finds a place.
"""

import numpy as np
from numba import njit

from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.quantizer import Assignment, Quantizer, quantize_below, sid_room
from model.tokenizer.reassignment import group
from model.tokenizer.sids import prefix_keys

_MOVED_AT_ONCE = 4096


def spill(
    quantizer: Quantizer,
    vectors: ItemVectors,
    assigned: Assignment,
    pinned: np.ndarray,
    capacity: int,
) -> tuple[Assignment, np.ndarray]:
    """Move items out of prefixes that are too full, at every level but the last.

    Args:
        quantizer: the codebooks.
        vectors: of the first len(vectors) items; the items after them are pinned.
        assigned: codes and distances of all items.
        pinned: (N,) bool, items that keep their codes whatever happens.
        capacity: items per semantic ID.

    Returns:
        Codes and distances; (N,) bool, who was moved.
    """
    codes, distances = assigned.codes.copy(), assigned.distances.copy()
    spilled = np.zeros(len(codes), bool)
    sizes = quantizer.sizes
    for level in range(len(sizes) - 1):
        room = capacity * sid_room(sizes[level + 1 :])
        if room >= len(codes):
            continue
        parents = np.unique(prefix_keys(codes[:, :level], sizes[:level]), return_inverse=True)[1]
        nodes = parents * sizes[level] + codes[:, level]
        leaving = _overflow(nodes, distances[:, level], pinned, room)
        if len(leaving) == 0:
            continue
        free = room - np.bincount(nodes, minlength=(parents.max() + 1) * sizes[level])
        np.add.at(free, nodes[leaving], 1)
        free = free.reshape(-1, sizes[level])
        for start in range(0, len(leaving), _MOVED_AT_ONCE):
            items = leaving[start : start + _MOVED_AT_ONCE]
            encoded = quantizer.encode(vectors.take(items))
            costs = _costs(quantizer, encoded, codes[items], level)
            codes[items, level] = _settle(costs, parents[items], free)
            again = quantize_below(quantizer, encoded, codes[items], level + 1)
            codes[items], distances[items] = again.codes, again.distances
        spilled[leaving] = True
    return Assignment(codes, distances), spilled


def _overflow(
    nodes: np.ndarray, distances: np.ndarray, pinned: np.ndarray, room: int
) -> np.ndarray:
    """Items beyond the room of their node, nearest to its centroid first; pinned ones stay."""
    counts = np.bincount(nodes)
    crowded = np.flatnonzero(counts[nodes] > room)
    urgency = np.where(pinned[crowded], -1.0, distances[crowded])
    crowded = crowded[np.lexsort((crowded, urgency))]
    order, offsets = group(nodes[crowded])
    rank = np.empty(len(crowded), np.int64)
    rank[order] = np.arange(len(crowded)) - np.repeat(offsets[:-1], np.diff(offsets))
    return crowded[(rank >= room) & ~pinned[crowded]]


def _costs(quantizer: Quantizer, encoded: np.ndarray, codes: np.ndarray, level: int) -> np.ndarray:
    """(n, K) float32 distance of every item to every centroid of a level, up to a constant."""
    residuals = quantizer.residuals(encoded, codes[:, :level])
    clusters = quantizer.levels[level]
    offsets = np.square(clusters.centroids).sum(axis=1) + clusters.prices
    return offsets - 2.0 * residuals @ clusters.centroids.T


@njit(cache=True)
def _settle(costs, parents, free):  # pragma: no cover
    """One item after the other to its cheapest code that has room, which then has less."""
    chosen = np.empty(len(costs), np.int32)
    for item in range(len(costs)):
        best, code = np.inf, -1
        for k in range(costs.shape[1]):
            if free[parents[item], k] > 0 and costs[item, k] < best:
                best, code = costs[item, k], k
        free[parents[item], code] -= 1
        chosen[item] = code
    return chosen
