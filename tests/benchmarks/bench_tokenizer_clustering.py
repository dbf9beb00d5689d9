"""Clustering: ours against ``faiss.Kmeans`` with the same iterations on the same vectors.

    python -m tests.benchmarks.bench_tokenizer_clustering --items 200000 --size 1024

Vectors are clustered like trained item vectors. Both start cold in the same run; the ratio of
times is theirs over ours, that of inertias ours over theirs.
"""

import argparse
import time

import faiss
import numpy as np

from model.tokenizer.kmeans import fit_kmeans
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


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=10)
    given = parser.parse_args()
    vectors = clustered_vectors(given.items, given.width)
    settings = {"iterations": given.iterations, "what": "ours"}
    start = time.perf_counter()
    theirs = faiss.Kmeans(
        given.width, given.size, niter=given.iterations, seed=1, max_points_per_centroid=2**31 - 1
    )
    theirs.train(vectors)
    their_seconds, their_inertia = time.perf_counter() - start, inertia(vectors, theirs.centroids)
    print(f"{given.items:,} x {given.width}, K {given.size:,}, {given.iterations} iterations")
    print(f"faiss.Kmeans     {their_seconds:7.1f} s  inertia {their_inertia:.5f}")
    fit_kmeans(  # compiles
        vectors[:1000], 8, initialization="sample", generator=np.random.default_rng(0), **settings
    )
    for how, limit in (("sample", None), ("kmeans++", None), ("kmeans++", 1.1)):
        start = time.perf_counter()
        centroids = fit_kmeans(
            vectors,
            given.size,
            initialization=how,
            limit_share=limit,
            generator=np.random.default_rng(0),
            **settings,
        )
        seconds, ours = time.perf_counter() - start, inertia(vectors, centroids)
        name = f"{how}, balanced" if limit else how
        print(
            f"{name:18s} {seconds:5.1f} s  inertia {ours:.5f}  ratio of times "
            f"{their_seconds / seconds:.2f}, of inertias {ours / their_inertia:.4f}"
        )


if __name__ == "__main__":
    main()
