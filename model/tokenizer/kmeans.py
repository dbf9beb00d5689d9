"""Seeded k-means: k-means++ or sampled seeding, Lloyd's iterations, empty clusters revived.

The balanced form keeps a price per cluster, raised while it is larger than the mean and lowered
while it is smaller (the dual of k-means with constrained sizes: Bennett, Bradley and Demiriz,
2000). Prices stay with the centroids, so that items that were not in the sample, and items of
tomorrow, are assigned by the same rule.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from model.progress import track
from model.tokenizer.nearest import nearest_centroid

Initialization = Literal["kmeans++", "sample"]

PRICE_STEP = 0.5  # of the mean squared distance, for a cluster of twice the mean size


@dataclass(frozen=True)
class Clusters:
    """One level of a codebook.

    Attributes:
        centroids: (K, width) float32.
        prices: (K,) float32, added to squared distances; zeros unless balanced.
    """

    centroids: np.ndarray
    prices: np.ndarray

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """(n,) int32 cluster of every vector, from 0."""
        return nearest_centroid(self.centroids, self.prices)(vectors)


def fit_kmeans(
    vectors: np.ndarray,
    num_clusters: int,
    *,
    iterations: int,
    initialization: Initialization,
    balanced: bool,
    generator: np.random.Generator,
    what: str,
) -> Clusters:
    """Cluster a sample.

    Where there are fewer distinct vectors than clusters, the clusters left over are copies of
    others: they cost an item that moves into them nothing.

    Args:
        vectors: (n, width) float32.
        num_clusters: K.
        iterations: of Lloyd, at most; it ends when no vector changes its cluster.
        initialization: ``kmeans++`` in rounds that double the centroids, or ``sample``.
        balanced: keep the clusters about equally large.
        generator: decides every draw.
        what: named in the progress.
    """
    start = _seed_centroids(vectors, num_clusters, initialization, generator)
    clusters = Clusters(start, np.zeros(num_clusters, np.float32))
    before = np.full(len(vectors), -1, np.int32)
    for step in track(range(iterations), total=iterations, what=what, unit="iteration"):
        codes = clusters.assign(vectors)
        if not balanced and np.array_equal(codes, before):
            break
        before = codes
        sums, counts = _sums(vectors, codes, num_clusters)
        centroids = clusters.centroids.copy()
        filled = counts > 0
        centroids[filled] = (sums[filled] / counts[filled, None]).astype(np.float32)
        if not filled.all():
            _revive(vectors, codes, centroids, np.flatnonzero(~filled), generator)
        prices = clusters.prices
        if balanced:
            distances = squared_distances(vectors, centroids, codes)
            prices = _raise_prices(prices, counts, float(distances.mean()), step)
        clusters = Clusters(centroids, prices)
    return clusters


def squared_distances(vectors: np.ndarray, centroids: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,) float32 squared distance of each vector to its centroid, exactly 0 for equal ones."""
    residuals = vectors - centroids[codes]
    return np.einsum("ij,ij->i", residuals, residuals)


def _seed_centroids(
    vectors: np.ndarray, num_clusters: int, how: Initialization, generator: np.random.Generator
) -> np.ndarray:
    if how == "sample":
        drawn = generator.permutation(len(vectors))[:num_clusters]
        return vectors[np.resize(np.sort(drawn), num_clusters)].copy()
    return _plus_plus(vectors, num_clusters, generator)


def _plus_plus(
    vectors: np.ndarray, num_clusters: int, generator: np.random.Generator
) -> np.ndarray:
    """k-means++ in rounds: each draws as many centroids as there are, by squared distance.

    One draw at a time reads the sample K times; rounds of doubling size read it log2(K) times and
    cost one iteration of Lloyd (as k-means||, Bahmani et al. 2012, without its second clustering).
    """
    chosen = [generator.integers(len(vectors), size=1)]
    distances = np.full(len(vectors), np.inf, np.float32)
    while (have := sum(map(len, chosen))) < num_clusters:
        latest = vectors[chosen[-1]]
        nearest = nearest_centroid(latest, np.zeros(len(latest), np.float32))(vectors)
        distances = np.minimum(distances, squared_distances(vectors, latest, nearest))
        drawn = _draw(distances, min(have, num_clusters - have), generator)
        if len(drawn) == 0:  # every vector is a centroid already
            break
        chosen.append(drawn)
    rows = np.concatenate(chosen)
    return vectors[np.resize(rows, num_clusters)].copy()


def _draw(weights: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """At most ``count`` different positions, drawn in proportion to their weight, never by 0.

    Each position waits for an exponential time of its own rate; the first ``count`` are drawn.
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
    """Put empty clusters where vectors lie far from their centroid; in place."""
    drawn = _draw(squared_distances(vectors, centroids, codes), len(empty), generator)
    centroids[empty[: len(drawn)]] = vectors[drawn]


def _raise_prices(prices: np.ndarray, counts: np.ndarray, scale: float, step: int) -> np.ndarray:
    """Dearer where crowded, cheaper where empty; smaller steps as the iterations go on."""
    excess = np.clip(counts / counts.mean() - 1.0, -1.0, 1.0)
    raised = prices + PRICE_STEP * scale / np.sqrt(1.0 + step) * excess
    return (raised - raised.mean()).astype(np.float32)


@njit(cache=True)
def _sums(vectors, codes, num_clusters):  # pragma: no cover
    """Sum in float64 and count of each cluster's vectors, in the order of the vectors."""
    sums = np.zeros((num_clusters, vectors.shape[1]))
    counts = np.zeros(num_clusters, np.int64)
    for i in range(len(codes)):
        counts[codes[i]] += 1
        for j in range(vectors.shape[1]):
            sums[codes[i], j] += vectors[i, j]
    return sums, counts
