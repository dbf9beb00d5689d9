"""The nearest centroid, whoever else is asked for and wherever the vectors lie."""

import numpy as np
import pytest
import torch

from model.tokenizer.nearest import FaissNearest, TorchNearest

SEARCHES = [FaissNearest, lambda centroids: TorchNearest(centroids, torch.device("cpu"))]


def _nearly_alike(spread: float) -> np.ndarray:
    """Unit vectors that share a direction, as those of a collapsed encoder do."""
    generator = np.random.default_rng(0)
    shared = generator.standard_normal(16)
    vectors = shared / np.linalg.norm(shared) + spread * generator.standard_normal((9_000, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("spread", [1.0, 0.01, 0.0003])
def test_is_the_nearest_and_depends_on_nobody_else(search, spread):
    vectors = _nearly_alike(spread)
    centroids = vectors[::100]
    nearest = search(centroids)
    codes = nearest(vectors)
    exact = vectors[:, None].astype(np.float64) - centroids
    distances = np.einsum("nkd,nkd->nk", exact, exact)
    found = distances[np.arange(len(codes)), codes]
    assert (found <= distances.min(axis=1) * (1 + 1e-3) + 1e-12).all()
    parts = [nearest(vectors[start : start + 1_003]) for start in range(0, len(vectors), 1_003)]
    assert np.array_equal(codes, np.concatenate(parts))
    assert [nearest(vectors[row : row + 1])[0] for row in range(30)] == codes[:30].tolist()
    order = np.random.default_rng(1).permutation(len(vectors))
    assert np.array_equal(codes[order], nearest(vectors[order]))
