"""Exact nearest neighbours of some items among all, a block of the memory map at a time."""

import numpy as np
from numba import prange

from model.compiled import compiled
from model.tokenizer.item_vectors import BLOCK_ROWS, ItemVectors
from model.tokenizer.nearest import centroid_costs, shared_part
from model.tokenizer.quantizer import Metric, normalized


def true_neighbors(
    vectors: ItemVectors, queries: np.ndarray, metric: Metric, count: int
) -> np.ndarray:
    """Find the nearest items in one pass over all, whatever their semantic IDs.

    Args:
        vectors: N items.
        queries: (Q,) positions among them.
        metric: ``cosine`` brings every vector to length 1 first.
        count: neighbours of each, the query itself not among them; below N.

    Returns:
        (Q, count) int64 positions, nearest first, ties by position.
    """
    if count == 0:
        return np.zeros((len(queries), 0), np.int64)
    wanted = _prepared(vectors.take(queries), metric)
    shared = shared_part(wanted)
    wanted = wanted - shared
    costs = np.full((len(queries), count), np.inf, np.float32)
    nearest = np.zeros(costs.shape, np.int64)
    # Blocks so small that a block's costs are still in the cache when they are looked through.
    for rows, block in vectors.blocks(what="nearest neighbours", rows_at_once=BLOCK_ROWS):
        of_block = centroid_costs(wanted, _prepared(block, metric) - shared)
        _keep_nearest(of_block, rows.start, queries, costs, nearest)
    return nearest


def _prepared(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    return normalized(vectors) if metric == "cosine" else vectors


@compiled(parallel=True)
def _keep_nearest(of_block, first, queries, costs, nearest):  # pragma: no cover
    """Merge the items of a block that begins at ``first`` into the nearest so far; in place.

    Items come in order and only a lower cost moves one ahead: ties go to the smaller position.
    """
    for query in prange(len(queries)):
        for column in range(of_block.shape[1]):
            cost = of_block[query, column]
            if cost >= costs[query, -1] or first + column == queries[query]:
                continue
            place = costs.shape[1] - 1
            while place > 0 and costs[query, place - 1] > cost:
                costs[query, place] = costs[query, place - 1]
                nearest[query, place] = nearest[query, place - 1]
                place -= 1
            costs[query, place] = cost
            nearest[query, place] = first + column
