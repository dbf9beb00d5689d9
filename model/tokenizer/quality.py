"""How much of what recommendations need is kept in the semantic IDs, before anything is trained.

Neighbourhood: do an item's true nearest neighbours share its first code, and do they lie in its
vicinity (the same prefix, and a last code among the nearest to its own)? Co-occurrence: do the two
items of a held-out transition? Each share stands beside what chance gives, for a codebook of few
large clusters keeps everything together and says nothing. Held-out events are read here, for the
report; no code depends on them.
"""

from typing import Any

import numpy as np

from model.dataset.interactions import Interactions
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.nearest import centroid_costs
from model.tokenizer.quantizer import Quantizer, normalized
from model.tokenizer.sids import prefix_keys

NEIGHBORS = 10
QUERIES, POOL, PAIRS = 1000, 100_000, 100_000
_POOL_BYTES = 2**29
_QUERIES_AT_ONCE = 128


def neighborhood(
    quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray, *, vicinity: int, seed: int
) -> dict[str, Any]:
    """Recall of true nearest neighbours among the items near in semantic ID.

    Args:
        quantizer: its metric says what near means, its last level which codes are near.
        vectors: N items.
        codes: (N, L) int32 from 0.
        vicinity: last-level codes that count as near, the item's own included.
        seed: draws the pool of items and, from it, those whose neighbours are looked up.

    Returns:
        ``items`` of the pool, ``queries``, and for ``sid1`` and ``vicinity`` the ``recall@10``
        within the pool and what ``chance`` gives, the share of all pairs that are near.
    """
    generator = np.random.default_rng(seed)
    size = min(len(vectors), POOL, _POOL_BYTES // (4 * vectors.width))
    pool = np.sort(generator.choice(len(vectors), size, replace=False, shuffle=False))
    queries = np.sort(generator.choice(size, min(size, QUERIES), replace=False, shuffle=False))
    matrix = vectors.take(pool)
    if quantizer.metric == "cosine":
        matrix = normalized(matrix)
    count = min(NEIGHBORS, size - 1)
    found = {"sid1": [0.0, 0.0], "vicinity": [0.0, 0.0]}
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = queries[start : start + _QUERIES_AT_ONCE]
        costs = centroid_costs(matrix[rows], matrix)
        costs[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(costs, count, axis=1)[:, :count]
        for name, near in _near(quantizer, codes[pool[rows]], codes[pool], vicinity).items():
            near[np.arange(len(rows)), rows] = False
            found[name][0] += np.take_along_axis(near, nearest, axis=1).sum()
            found[name][1] += near.sum()
    pairs = max(len(queries) * count, 1), max(len(queries) * (size - 1), 1)
    return {"items": size, "queries": len(queries)} | {
        name: {f"recall@{NEIGHBORS}": float(hits / pairs[0]), "chance": float(all_near / pairs[1])}
        for name, (hits, all_near) in found.items()
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
        seed: draws the transitions where there are many, and the strangers that give the chance.

    Returns:
        ``pairs``, and for ``sid1`` and ``vicinity`` the ``share`` and the ``chance``, which is the
        share when the targets are dealt out anew; None where no transition is held out.
    """
    held_out = interactions.validation_event[interactions.validation_event >= 0]
    before, after = interactions.item_ids[held_out - 1], interactions.item_ids[held_out]
    known = (codes[before] > 0).all(axis=1) & (codes[after] > 0).all(axis=1) & (before != after)
    before, after = before[known], after[known]
    if len(before) == 0:
        return None
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(before))[:PAIRS]
    left, right = codes[before[chosen]] - 1, codes[after[chosen]] - 1
    strangers = right[generator.permutation(len(right))]
    near = _near_pairs(quantizer, left, right, vicinity)
    chance = _near_pairs(quantizer, left, strangers, vicinity)
    return {"pairs": len(left)} | {
        name: {"share": float(near[name].mean()), "chance": float(chance[name].mean())}
        for name in near
    }


def _near(
    quantizer: Quantizer, left: np.ndarray, right: np.ndarray, vicinity: int
) -> dict[str, np.ndarray]:
    """(n, m) bool for (n, L) and (m, L) codes: who shares SID1, who lies in the vicinity."""
    sizes = quantizer.sizes[:-1]
    prefix = prefix_keys(left[:, :-1], sizes)[:, None] == prefix_keys(right[:, :-1], sizes)
    near_codes = _near_codes(quantizer.centroids[-1], left[:, -1], vicinity)
    return {
        "sid1": left[:, None, 0] == right[None, :, 0],
        "vicinity": prefix & near_codes[:, right[:, -1]],
    }


def _near_pairs(
    quantizer: Quantizer, left: np.ndarray, right: np.ndarray, vicinity: int
) -> dict[str, np.ndarray]:
    """(n,) bool for two (n, L): the same, pair by pair."""
    centroids = quantizer.centroids[-1]
    same_prefix = np.flatnonzero((left[:, :-1] == right[:, :-1]).all(axis=1))
    near = np.zeros(len(left), bool)
    for start in range(0, len(same_prefix), _QUERIES_AT_ONCE):
        rows = same_prefix[start : start + _QUERIES_AT_ONCE]
        near_codes = _near_codes(centroids, left[rows, -1], vicinity)
        near[rows] = near_codes[np.arange(len(rows)), right[rows, -1]]
    return {"sid1": left[:, 0] == right[:, 0], "vicinity": near}


def _near_codes(centroids: np.ndarray, codes: np.ndarray, vicinity: int) -> np.ndarray:
    """(n, K) bool: the ``vicinity`` codes nearest to each, itself among them."""
    costs = centroid_costs(centroids[codes], centroids)
    costs[np.arange(len(codes)), codes] = -np.inf
    count = min(vicinity, len(centroids))
    near = np.zeros(costs.shape, bool)
    np.put_along_axis(near, np.argsort(costs, axis=1, kind="stable")[:, :count], True, axis=1)
    return near
