"""Seeded k-means: k-means++ or sampled seeding, Lloyd's iterations, empty clusters revived.

With a limit no cluster has more vectors than that: in every iteration the vectors farthest from a
crowded centroid join the nearest cluster with room, so that centroids move to where vectors are
dense (constrained k-means, Bennett, Bradley and Demiriz 2000, with a greedy assignment in place of
their linear program).
"""

from typing import Literal

import numpy as np
from numba import prange

from model.compiled import compiled
from model.progress import track
from model.tokenizer.bounds import repeated_search
from model.tokenizer.limits import overflow, room_beside, settle
from model.tokenizer.nearest import centroid_costs, nearest_centroid, squared_distances

Initialization = Literal["kmeans++", "sample"]

_MOVED_AT_ONCE = 4096
_PER_CENTROID = 16  # vectors for k-means++ to draw from
_CACHE_LINE = 16  # float32


def fit_kmeans(
    vectors: np.ndarray,
    num_clusters: int,
    *,
    iterations: int,
    initialization: Initialization,
    limit: int | None = None,
    generator: np.random.Generator,
    what: str,
) -> np.ndarray:
    """Cluster a sample.

    Where there are fewer distinct vectors than clusters, the remaining centroids are copies of
    others: moving an item to one of them costs nothing.

    Args:
        vectors: (n, width) float32.
        num_clusters: K.
        iterations: of Lloyd's algorithm, at most; it stops once no vector changes its cluster.
        initialization: ``kmeans++`` in rounds that double the centroids, or ``sample``.
        limit: vectors of the largest cluster, None for any number.
        generator: decides every draw.
        what: named in the progress.

    Returns:
        (K, width) float32 centroids.
    """
    centroids = _seed_centroids(vectors, num_clusters, initialization, generator)
    search = repeated_search(vectors)
    one_parent = np.zeros(len(vectors), np.int64)
    before = np.empty(0, np.int32)
    for _ in track(range(iterations), total=iterations, what=what, unit="iteration"):
        codes = search(centroids)
        if limit is not None:
            codes = within_limit(vectors, centroids, codes, one_parent, limit)
        if np.array_equal(codes, before):
            break
        before = codes
        sums, counts = cluster_sums(vectors, codes, num_clusters)
        filled = counts > 0
        centroids = centroids.copy()
        centroids[filled] = (sums[filled] / counts[filled, None]).astype(np.float32)
        if not filled.all():
            _revive(vectors, codes, centroids, np.flatnonzero(~filled), generator)
    return centroids


def within_limit(
    vectors: np.ndarray,
    centroids: np.ndarray,
    codes: np.ndarray,
    parents: np.ndarray,
    limit: int,
) -> np.ndarray:
    """Move the vectors farthest from crowded centroids to the nearest ones with room.

    Args:
        vectors: (n, width) float32.
        centroids: (K, width) float32.
        codes: (n,) int32 nearest centroids.
        parents: (n,) int64 clusters of the levels before; each is balanced separately.
        limit: vectors of one parent that a centroid may have; every parent must have room.

    Returns:
        (n,) int32 codes.
    """
    distances = squared_distances(vectors, centroids, codes)
    nodes = parents * len(centroids) + codes
    leaving = overflow(nodes, distances, np.zeros(len(codes), bool), limit)
    of_parent, free = room_beside(parents, codes, leaving, len(centroids), limit)
    codes = codes.copy()
    for start in range(0, len(leaving), _MOVED_AT_ONCE):
        rows = leaving[start : start + _MOVED_AT_ONCE]
        costs = centroid_costs(vectors[rows], centroids)
        codes[rows] = settle(costs, of_parent[start : start + _MOVED_AT_ONCE], free)
    return codes


def _seed_centroids(
    vectors: np.ndarray, num_clusters: int, how: Initialization, generator: np.random.Generator
) -> np.ndarray:
    if how == "sample":
        rows = np.sort(generator.permutation(len(vectors))[:num_clusters])
    else:
        rows = _plus_plus(vectors, num_clusters, generator)
    return vectors[np.resize(rows, num_clusters)].copy()


def _plus_plus(
    vectors: np.ndarray, num_clusters: int, generator: np.random.Generator
) -> np.ndarray:
    """k-means++ in rounds: each draws as many centroids as there are, by squared distance.

    One draw at a time reads the vectors K times; rounds of doubling size read them log2(K) times
    (as k-means||, Bahmani et al. 2012, without its second clustering). They draw from a sample of
    the vectors.

    Returns:
        At most K positions, fewer where no other vector differs from these.
    """
    count = min(len(vectors), _PER_CENTROID * num_clusters)
    part = np.sort(generator.choice(len(vectors), count, replace=False, shuffle=False))
    if count < len(vectors):
        vectors = vectors[part]
    chosen = [generator.integers(len(vectors), size=1)]
    distances = np.full(len(vectors), np.inf, np.float32)
    while (have := sum(map(len, chosen))) < num_clusters:
        latest = vectors[chosen[-1]]
        nearest = nearest_centroid(latest)(vectors)
        distances = np.minimum(distances, squared_distances(vectors, latest, nearest))
        drawn = _draw(distances, min(have, num_clusters - have), generator)
        if len(drawn) == 0:
            break
        chosen.append(drawn)
    return part[np.concatenate(chosen)]


def _draw(weights: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw at most ``count`` positions without replacement, by weight; never one of weight 0.

    Each position gets an exponential waiting time whose rate is its weight; the first ``count``
    are drawn.
    """
    possible = np.flatnonzero(weights > 0.0)
    waits = generator.standard_exponential(len(possible)) / weights[possible]
    if len(possible) > count:
        possible = possible[np.argpartition(waits, count - 1)[:count]]
    return np.sort(possible)


def _revive(
    vectors: np.ndarray,
    codes: np.ndarray,
    centroids: np.ndarray,
    empty: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Move empty clusters to vectors that lie far from their own centroid; in place."""
    drawn = _draw(squared_distances(vectors, centroids, codes), len(empty), generator)
    centroids[empty[: len(drawn)]] = vectors[drawn]


@compiled(parallel=True)
def cluster_sums(
    vectors: np.ndarray, codes: np.ndarray, num_clusters: int
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    """Sum in float64 and count of each cluster's vectors; deterministic, in order of the rows."""
    width = vectors.shape[1]
    sums = np.zeros((num_clusters, width))
    for part in prange((width + _CACHE_LINE - 1) // _CACHE_LINE):
        first, last = part * _CACHE_LINE, min(width, (part + 1) * _CACHE_LINE)
        for i in range(len(codes)):
            for j in range(first, last):
                sums[codes[i], j] += vectors[i, j]
    return sums, np.bincount(codes, minlength=num_clusters)
