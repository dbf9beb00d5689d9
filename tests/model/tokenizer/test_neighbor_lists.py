"""Lists of close codes against a sort of all of them; small whole numbers leave no rounding."""

import numpy as np
import pytest

from model.tokenizer.neighbor_lists import cosine_lists, distance_lists


def expected(costs: np.ndarray, count: int) -> np.ndarray:
    """(K, m) of a full sort, ties by number."""
    lists = [
        [other for other in np.argsort(row, kind="stable") if other != own]
        for own, row in enumerate(costs)
    ]
    return np.array(lists, np.int32).reshape(len(costs), -1)[:, :count]


@pytest.mark.parametrize("count", [1, 7, 299, 1000])
@pytest.mark.parametrize("high", [2, 40])  # many ties; few
def test_closest_by_distance(count, high):
    centroids = np.random.default_rng(0).integers(high, size=(300, 5)).astype(np.float32)
    costs = np.square(centroids[:, None] - centroids).sum(axis=2)
    assert np.array_equal(distance_lists(centroids, count), expected(costs, count))


@pytest.mark.parametrize("count", [1, 7, 299])
def test_most_similar_by_cosine(count):
    generator = np.random.default_rng(1)
    axes = np.concatenate([np.eye(4), -np.eye(4), np.zeros((1, 4))])
    kinds = generator.integers(9, size=300)
    centroids = (axes[kinds] * 2.0 ** generator.integers(5, size=(300, 1))).astype(np.float32)
    costs = 1.0 - axes[kinds] @ axes[kinds].T
    assert np.array_equal(cosine_lists(centroids, count), expected(costs, count))


@pytest.mark.parametrize("lists_of", [cosine_lists, distance_lists])
def test_one_code_has_nowhere_to_go(lists_of):
    assert lists_of(np.ones((1, 3), np.float32), 50).shape == (1, 0)
