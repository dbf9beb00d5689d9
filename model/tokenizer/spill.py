"""Move items out of prefixes that hold more items than they have room for.

Level by level from the top, the items farthest from their centroid leave a crowded code for the
nearest sibling with room, and choose their deeper codes again. Where a code may hold as many items
as its subtree has IDs for, every item finds a place if the whole codebook has one; with a lower
limit, the codes are balanced.
"""

from collections.abc import Sequence

import numpy as np

from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.limits import overflow, room_beside, settle
from model.tokenizer.nearest import centroid_costs, shared_part
from model.tokenizer.quantizer import Assignment, Quantizer, quantize_below
from model.tokenizer.sids import prefix_keys

_MOVED_AT_ONCE = 4096


def spill(
    quantizer: Quantizer,
    vectors: ItemVectors,
    assigned: Assignment,
    pinned: np.ndarray,
    rooms: Sequence[int],
) -> tuple[Assignment, np.ndarray]:
    """Move items out of codes that are too full.

    Args:
        quantizer: the codebooks.
        vectors: of the first len(vectors) items; the items after them are pinned.
        assigned: codes and distances of all items.
        pinned: (N,) bool, items that keep their codes whatever happens.
        rooms: items that one code of each level may hold, for the first so many levels.

    Returns:
        Codes and distances; (N,) bool, which were moved.
    """
    codes, distances = assigned.codes.copy(), assigned.distances.copy()
    spilled = np.zeros(len(codes), bool)
    sizes = quantizer.sizes
    for level, room in enumerate(rooms):
        if room >= len(codes):
            continue
        parents = prefix_keys(codes[:, :level], sizes[:level])
        nodes = parents * sizes[level] + codes[:, level]
        leaving = overflow(nodes, distances[:, level], pinned, room)
        if len(leaving) == 0:
            continue
        centroids = quantizer.centroids[level]
        shared = shared_part(centroids)
        rows, free = room_beside(parents, codes[:, level], leaving, sizes[level], room)
        for start in range(0, len(leaving), _MOVED_AT_ONCE):
            items = leaving[start : start + _MOVED_AT_ONCE]
            encoded = quantizer.encode(vectors.take(items))
            residuals = quantizer.residuals(encoded, codes[items, :level])
            costs = centroid_costs(residuals - shared, centroids - shared)
            codes[items, level] = settle(costs, rows[start : start + _MOVED_AT_ONCE], free)
            again = quantize_below(quantizer, encoded, codes[items], level + 1)
            codes[items], distances[items] = again.codes, again.distances
        spilled[leaving] = True
    return Assignment(codes, distances), spilled
