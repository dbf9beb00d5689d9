"""How much of what recommendations need is kept in the semantic IDs, before anything is trained.

Neighbourhood: do an item's true nearest neighbours share its first code, and do they lie in its
vicinity (the same prefix, and a last code among the nearest to its own)? Co-occurrence: do the two
items of a held-out transition? Each share is given beside that of chance, since a codebook of
few large clusters keeps everything together and says nothing. Held-out events are read here, for
the report; no code depends on them.
"""

from typing import Any

import numpy as np

from model.dataset.interactions import Interactions
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.nearest import centroid_costs
from model.tokenizer.quantizer import Quantizer
from model.tokenizer.sids import prefix_keys
from model.tokenizer.true_neighbors import true_neighbors

NEIGHBORS = 10
QUERIES, PAIRS = 1000, 100_000
_DRAWN_FROM = 100_000
_QUERIES_AT_ONCE = 128


def neighborhood(
    quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray, *, vicinity: int, seed: int
) -> dict[str, Any]:
    """Recall of true nearest neighbours, of all items, among the items near in semantic ID.

    Args:
        quantizer: its metric says what near means, its last level which codes are near.
        vectors: N items.
        codes: (N, L) int32 from 0.
        vicinity: last-level codes that count as near, the item's own included.
        seed: draws those whose neighbours are looked up.

    Returns:
        ``items``, ``queries``, and for ``sid1`` and ``vicinity`` the ``recall@10`` and what
        ``chance`` gives, the share of all pairs of a query and another item that are near.
    """
    queries = _draw_queries(len(vectors), seed)
    count = min(NEIGHBORS, len(vectors) - 1)
    neighbors = true_neighbors(vectors, queries, quantizer.metric, count)
    found = _near_pairs(
        quantizer, codes[np.repeat(queries, count)], codes[neighbors.ravel()], vicinity
    )
    near = _count_near(quantizer, codes, queries, vicinity)
    pairs = max(len(queries) * count, 1), max(len(queries) * (len(vectors) - 1), 1)
    return {"items": len(vectors), "queries": len(queries)} | {
        name: {
            f"recall@{NEIGHBORS}": float(found[name].sum() / pairs[0]),
            "chance": float(near[name] / pairs[1]),
        }
        for name in near
    }


def cooccurrence(
    quantizer: Quantizer,
    codes: np.ndarray,
    interactions: Interactions,
    *,
    vicinity: int,
    seed: int,
) -> dict[str, Any] | None:
    """How often the two items of a held-out transition are near in semantic ID.

    A transition is the last training event of a user and the validation target after it.

    Args:
        quantizer: its last level says which codes are near.
        codes: (I + 1, L) int32 from 1, 0 where an item has none.
        interactions: of these items.
        vicinity: last-level codes that count as near, the item's own included.
        seed: draws the transitions where there are many, and the permutation that gives the chance.

    Returns:
        ``pairs``, and for ``sid1`` and ``vicinity`` the ``share`` and the ``chance``, which is the
        share among randomly permuted targets, without pairs of an item and itself; None where no
        transition is held out.
    """
    held_out = interactions.validation_event[interactions.validation_event >= 0]
    before, after = interactions.item_ids[held_out - 1], interactions.item_ids[held_out]
    known = (codes[before] > 0).all(axis=1) & (codes[after] > 0).all(axis=1) & (before != after)
    before, after = before[known], after[known]
    if len(before) == 0:
        return None
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(before))[:PAIRS]
    before, after = before[chosen], after[chosen]
    strangers = after[generator.permutation(len(after))]
    near = _near_pairs(quantizer, codes[before] - 1, codes[after] - 1, vicinity)
    met = before != strangers  # an item is not near itself by chance
    chance = _near_pairs(quantizer, codes[before[met]] - 1, codes[strangers[met]] - 1, vicinity)
    return {"pairs": len(before)} | {
        name: {
            "share": float(near[name].mean()),
            "chance": float(chance[name].sum() / max(1, int(met.sum()))),
        }
        for name in near
    }


def _draw_queries(num_items: int, seed: int) -> np.ndarray:
    """(Q,) positions, ascending; drawn from a pool, as a draw from all items would be expensive.

    The pool of a large catalogue has a random stream of its own: the training sample is the first
    draw from the seed's own stream, and the pool would repeat it.
    """
    generator = np.random.default_rng((seed, int(num_items > _DRAWN_FROM)))
    size = min(num_items, _DRAWN_FROM)
    pool = np.sort(generator.choice(num_items, size, replace=False, shuffle=False))
    chosen = generator.choice(size, min(size, QUERIES), replace=False, shuffle=False)
    return pool[np.sort(chosen)]


def _count_near(
    quantizer: Quantizer, codes: np.ndarray, queries: np.ndarray, vicinity: int
) -> dict[str, int]:
    """Count pairs of a query and any other item that share SID1, or lie in the vicinity."""
    sizes = quantizer.sizes
    sharing = np.bincount(codes[:, 0], minlength=sizes[0])[codes[queries, 0]]
    keys, counts = np.unique(prefix_keys(codes, sizes), return_counts=True)
    near, centroids = 0, quantizer.centroids[-1] - quantizer.shared
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        own = codes[queries[start : start + _QUERIES_AT_ONCE]]
        near_codes = _near_codes(centroids, own[:, -1], vicinity)
        rows, last = np.nonzero(near_codes)
        wanted = prefix_keys(np.column_stack([own[rows, :-1], last]), sizes)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        near += int(counts[places][keys[places] == wanted].sum())
    return {"sid1": int(sharing.sum()) - len(queries), "vicinity": near - len(queries)}


def _near_pairs(
    quantizer: Quantizer, left: np.ndarray, right: np.ndarray, vicinity: int
) -> dict[str, np.ndarray]:
    """(n,) bool for two (n, L) codes: who shares SID1, who lies in the vicinity."""
    centroids = quantizer.centroids[-1] - quantizer.shared
    same_prefix = np.flatnonzero((left[:, :-1] == right[:, :-1]).all(axis=1))
    near = np.zeros(len(left), bool)
    for start in range(0, len(same_prefix), _QUERIES_AT_ONCE):
        rows = same_prefix[start : start + _QUERIES_AT_ONCE]
        near[rows] = _is_near(centroids, left[rows, -1], right[rows, -1], vicinity)
    return {"sid1": left[:, 0] == right[:, 0], "vicinity": near}


def _is_near(
    centroids: np.ndarray, codes: np.ndarray, others: np.ndarray, vicinity: int
) -> np.ndarray:
    """(n,) bool: whether each of ``others`` is among the ``vicinity`` codes nearest to its code.

    As :func:`_near_codes`, but by counting the codes before it, without sorting.
    """
    costs = _costs_from(centroids, codes)
    cost = costs[np.arange(len(others)), others][:, None]
    precedes = np.arange(len(centroids)) < others[:, None]
    before = (costs < cost) | ((costs == cost) & precedes)
    return before.sum(axis=1) < vicinity


def _near_codes(centroids: np.ndarray, codes: np.ndarray, vicinity: int) -> np.ndarray:
    """(n, K) bool: the ``vicinity`` codes nearest to each, itself among them."""
    costs = _costs_from(centroids, codes)
    count = min(vicinity, len(centroids))
    near = np.zeros(costs.shape, bool)
    np.put_along_axis(near, np.argsort(costs, axis=1, kind="stable")[:, :count], True, axis=1)
    return near


def _costs_from(centroids: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n, K) float32 costs that order all codes by distance to each; each comes first itself."""
    costs = centroid_costs(centroids[codes], centroids)
    costs[np.arange(len(codes)), codes] = -np.inf
    return costs
