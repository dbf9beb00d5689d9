"""Exact nearest neighbours of some items among all, a block of the memory map at a time.

A matrix product rules out nearly all items, allowing for its rounding, which near twins drown in:
what it leaves is measured number by number.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.tokenizer.item_vectors import BLOCK_ROWS, ItemVectors
from model.tokenizer.nearest import centroid_costs, shared_part
from model.tokenizer.quantizer import Metric, normalized

_EPSILON = np.float32(np.finfo(np.float32).eps)


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
    distances = np.full((len(queries), count), np.inf, np.float32)
    nearest = np.zeros(distances.shape, np.int64)
    # Blocks so small that a block's costs are still in the cache when they are looked through.
    for rows, block in vectors.blocks(what="nearest neighbours", rows_at_once=BLOCK_ROWS):
        others = _prepared(block, metric) - shared
        costs = centroid_costs(wanted, others)
        _keep_nearest(wanted, others, costs, rows.start, queries, distances, nearest)
    return nearest


def _prepared(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    return normalized(vectors) if metric == "cosine" else vectors


@compiled(parallel=True)
def _keep_nearest(wanted, others, costs, first, queries, distances, nearest):  # pragma: no cover
    """Merge the items of a block that begins at ``first`` into the nearest so far; in place.

    Items come in order and only a lower distance moves one ahead: ties go to the smaller position.
    """
    # A cost and the query's square are off by less than this share of both squares.
    rounding = np.float32(2 * (wanted.shape[1] + 8)) * _EPSILON
    origin = np.zeros(wanted.shape[1], np.float32)
    allowances = np.empty(len(others), np.float32)
    for column in range(len(others)):
        allowances[column] = rounding * _apart(others[column], origin)
    for index in prange(len(queries)):
        query = np.int64(index)
        vector, farthest = wanted[query], distances.shape[1] - 1
        square = _apart(vector, origin) * (np.float32(1.0) - rounding)
        for column in range(len(others)):
            least = costs[query, column] + square - allowances[column]
            if least >= distances[query, farthest] or first + column == queries[query]:
                continue
            distance = _apart(vector, others[column])
            if distance >= distances[query, farthest]:
                continue
            place = farthest
            while place > 0 and distances[query, place - 1] > distance:
                distances[query, place] = distances[query, place - 1]
                nearest[query, place] = nearest[query, place - 1]
                place -= 1
            distances[query, place] = distance
            nearest[query, place] = first + column


@njit(fastmath={"reassoc", "contract"})  # a sum in several lanes
def _apart(one, other):  # pragma: no cover
    """Squared distance of two vectors, exactly 0 for equal ones."""
    total = np.float32(0.0)
    for number in range(len(one)):
        gap = one[number] - other[number]
        total += gap * gap
    return total
