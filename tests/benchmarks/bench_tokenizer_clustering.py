"""Clustering: ours against ``faiss.Kmeans`` with the same iterations on the same vectors.

    python -m tests.benchmarks.bench_tokenizer_clustering --items 200000 --size 1024

Vectors are clustered like trained item vectors. They take turns, and the best time of each counts;
the ratio of times is theirs over ours, that of inertias ours over theirs.

The number of iterations is the same, and so is what they see: all vectors, each put to its nearest
centroid. Ours are faster for the comparisons that bounds make needless.
"""

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np

from model.tokenizer.kmeans import Initialization, fit_kmeans
from model.tokenizer.nearest import nearest_centroid, squared_distances


def clustered_vectors(num_items: int, width: int, seed: int = 0) -> np.ndarray:
    """(num_items, width) float32 unit vectors around 4,096 centres of uneven popularity."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((4096, width), np.float32)
    chosen = (4096 * generator.random(num_items) ** 2).astype(np.int64)
    vectors = centres[chosen] + 0.7 * generator.standard_normal((num_items, width), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def inertia(vectors: np.ndarray, centroids: np.ndarray) -> float:
    """Mean squared distance to the nearest centroid."""
    codes = nearest_centroid(centroids)(vectors)
    return float(squared_distances(vectors, centroids, codes).mean())


def contestants_of(
    vectors: np.ndarray, size: int, iterations: int
) -> dict[str, Callable[[], np.ndarray]]:
    """What is compared, by name; each returns (size, width) centroids."""

    def theirs() -> np.ndarray:
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            size,
            niter=iterations,
            seed=1,
            min_points_per_centroid=1,
            max_points_per_centroid=2**31 - 1,
        )
        kmeans.train(vectors)
        return kmeans.centroids

    def ours(how: Initialization, limit: float | None) -> Callable[[], np.ndarray]:
        return lambda: fit_kmeans(
            vectors,
            size,
            iterations=iterations,
            initialization=how,
            limit_share=limit,
            generator=np.random.default_rng(0),
            what="ours",
        )

    return {
        "faiss.Kmeans": theirs,
        "sample": ours("sample", None),
        "kmeans++": ours("kmeans++", None),
        "kmeans++, balanced": ours("kmeans++", 1.1),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    vectors = clustered_vectors(given.items, given.width)
    print(f"{given.items:,} x {given.width}, K {given.size:,}, {given.iterations} iterations")
    contestants = contestants_of(vectors, given.size, given.iterations)
    seconds = {name: float("inf") for name in contestants}
    centroids = {}
    for _ in range(given.repeats):
        for name, fit in contestants.items():
            start = time.perf_counter()
            centroids[name] = fit()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    reference, their_inertia = seconds["faiss.Kmeans"], inertia(vectors, centroids["faiss.Kmeans"])
    for name in contestants:
        ours = inertia(vectors, centroids[name])
        print(
            f"{name:18s} {seconds[name]:5.2f} s  inertia {ours:.5f}  ratio of times "
            f"{reference / seconds[name]:.2f}, of inertias {ours / their_inertia:.4f}"
        )


if __name__ == "__main__":
    main()
