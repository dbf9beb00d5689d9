import faiss
import numpy as np
import pytest
import torch

from model.tokenizer.kmeans import fit_kmeans
from model.tokenizer.nearest import (
    FaissNearest,
    TorchNearest,
    nearest_centroid,
    squared_distances,
)
from tests.model.tokenizer.worlds import clustered


def fit(vectors, num_clusters, *, seed=0, iterations=10, **changes):
    settings = {"initialization": "kmeans++"} | changes
    generator = np.random.default_rng(seed)
    return fit_kmeans(
        vectors, num_clusters, iterations=iterations, generator=generator, what="test", **settings
    )


def inertia(vectors, centroids) -> float:
    codes = nearest_centroid(centroids)(vectors)
    return float(squared_distances(vectors, centroids, codes).mean())


def _on_a_device(centroids):
    """What a GPU runs, here on the CPU."""
    return TorchNearest(centroids, torch.device("cpu"))


@pytest.mark.parametrize("prepare", [FaissNearest, _on_a_device])
def test_nearest_is_the_nearest(prepare):
    vectors, centroids = clustered(5000), clustered(33, seed=1)
    by_hand = np.square(vectors[:, None] - centroids).sum(axis=2)
    codes = prepare(centroids)(vectors)
    assert np.allclose(by_hand[np.arange(5000), codes], by_hand.min(axis=1), atol=1e-6)


@pytest.mark.parametrize("initialization", ["kmeans++", "sample"])
def test_is_not_worse_than_faiss(initialization):
    vectors = clustered(4000, 16, centres=60)
    theirs = faiss.Kmeans(16, 40, niter=10, seed=1)
    theirs.train(vectors)
    ours = fit(vectors, 40, initialization=initialization)
    assert inertia(vectors, ours) <= 1.03 * inertia(vectors, theirs.centroids)


@pytest.mark.parametrize("initialization", ["kmeans++", "sample"])
def test_the_seed_decides_every_byte(initialization):
    vectors = clustered(1000)
    one = fit(vectors, 20, initialization=initialization)
    assert one.tobytes() == fit(vectors, 20, initialization=initialization).tobytes()
    assert one.tobytes() != fit(vectors, 20, initialization=initialization, seed=1).tobytes()


def test_empty_clusters_are_revived():
    far = np.float32([[100, 0], [0, 100], [-100, 0], [0, -100]])
    vectors = np.repeat(far, 50, axis=0)
    centroids = fit(vectors, 4, initialization="sample", seed=3)  # begins with equal centroids
    assert inertia(vectors, centroids) == 0.0


def test_fewer_distinct_vectors_than_clusters_give_copies():
    vectors = np.repeat(clustered(3), 10, axis=0)
    centroids = fit(vectors, 8)
    assert inertia(vectors, centroids) == 0.0
    assert len(np.unique(centroids, axis=0)) == 3
    assert np.isfinite(centroids).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_is_drawn_far_from_all_seeds_before(seed):
    near = 0.01 * np.random.default_rng(seed).standard_normal((50, 2))
    far = np.float32([[100, 0], [0, 100]])
    seeds = fit(np.concatenate([near.astype(np.float32), far]), 3, seed=seed, iterations=0)
    assert {(100.0, 0.0), (0.0, 100.0)} < {tuple(one) for one in seeds.tolist()}


def test_fewer_vectors_than_clusters():
    assert fit(clustered(3), 8, initialization="sample").shape == (8, 8)


def test_a_limit_keeps_clusters_about_equally_large():
    vectors = clustered(4000, 16, centres=5)
    sizes = {}
    for limit in (None, 110):
        codes = nearest_centroid(fit(vectors, 40, limit=limit))(vectors)
        sizes[limit] = np.bincount(codes, minlength=40)
    assert sizes[110].max() < sizes[None].max()
    assert sizes[110].std() < 0.6 * sizes[None].std()
