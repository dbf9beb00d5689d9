from dataclasses import replace

import numpy as np
import pytest

from model.tokenizer import true_neighbors as true_neighbors_module
from model.tokenizer.quality import (
    _draw_queries,
    _is_near,
    _near_codes,
    cooccurrence,
    neighborhood,
)
from model.tokenizer.quantizer import Quantizer
from model.tokenizer.true_neighbors import true_neighbors
from tests.model.inference.small_world import small_interactions
from tests.model.tokenizer.worlds import clustered, item_vectors


def quantizer(size: int = 8, width: int = 8) -> Quantizer:
    level = np.random.default_rng(0).standard_normal((size, width)).astype(np.float32)
    return Quantizer("cosine", (level, level), {})


def test_codes_by_cluster_keep_the_neighbourhood_and_random_ones_do_not():
    generator = np.random.default_rng(0)
    middles = np.eye(8, dtype=np.float32)
    clusters = generator.integers(8, size=400)
    matrix = middles[clusters] + 0.01 * generator.standard_normal((400, 8)).astype(np.float32)
    vectors, last = item_vectors(matrix), np.zeros(400, int)
    codes = np.stack([clusters, last], axis=1)
    kept = neighborhood(quantizer(), vectors, codes, vicinity=1, seed=0)
    assert kept["sid1"]["recall@10"] == kept["vicinity"]["recall@10"] == 1.0
    assert kept["sid1"]["chance"] == pytest.approx(1 / 8, abs=0.02)
    codes = np.stack([generator.permutation(clusters), last], axis=1)
    lost = neighborhood(quantizer(), vectors, codes, vicinity=1, seed=0)
    assert lost["sid1"]["recall@10"] == pytest.approx(lost["sid1"]["chance"], abs=0.02)


def test_a_pair_is_near_as_in_the_list_of_all_near_codes_ties_included():
    """Centroids at whole numbers, several at each place: many are equally far, and exactly."""
    generator = np.random.default_rng(4)
    centroids = generator.integers(3, size=(40, 2)).astype(np.float32)
    codes, others = np.divmod(np.arange(40 * 40), 40)
    for vicinity in (1, 2, 7, 39, 40, 50):
        listed = _near_codes(centroids, codes, vicinity)[np.arange(len(codes)), others]
        assert np.array_equal(_is_near(centroids, codes, others, vicinity), listed)
        assert listed.sum() == 40 * min(vicinity, 40)


def test_recall_equals_a_plain_count():
    vectors = item_vectors(clustered(60))
    codes = np.random.default_rng(1).integers(8, size=(60, 2))
    books = quantizer()
    found = neighborhood(books, vectors, codes, vicinity=3, seed=0)
    similar = vectors.matrix @ vectors.matrix.T
    np.fill_diagonal(similar, -np.inf)
    away = np.square(books.centroids[1][:, None] - books.centroids[1]).sum(axis=2)
    same = near = 0
    for item in range(60):
        for other in np.argsort(-similar[item])[:10]:
            if codes[item, 0] == codes[other, 0]:
                same += 1
                near += codes[other, 1] in np.argsort(away[codes[item, 1]])[:3]
    assert found["sid1"]["recall@10"] == pytest.approx(same / 600)
    assert found["vicinity"]["recall@10"] == pytest.approx(near / 600)


def test_true_neighbours_are_those_of_all_items():
    """More items than queries are drawn from, and every query's neighbours are copies of it."""
    centres = np.random.default_rng(2).standard_normal((10_001, 8)).astype(np.float32)
    group = np.tile(np.arange(10_001), 11)
    codes = np.stack([group % 8, group // 8 % 8], axis=1)
    found = neighborhood(quantizer(), item_vectors(centres[group]), codes, vicinity=1, seed=0)
    assert found["items"] == 110_011
    assert found["queries"] == 1000
    assert found["sid1"]["recall@10"] > 0.99  # a sum in another order may tell copies apart
    assert found["vicinity"]["recall@10"] > 0.99
    assert found["sid1"]["chance"] == pytest.approx(1 / 8, abs=0.01)
    assert found["vicinity"]["chance"] == pytest.approx(1 / 64, abs=0.01)


def test_true_neighbours_far_from_the_origin_are_the_same():
    matrix = (100.0 + 0.1 * clustered(300, seed=4)).astype(np.float32)
    queries = np.arange(0, 300, 7)
    found = true_neighbors(item_vectors(matrix), queries, "l2", 5)
    apart = np.square(matrix[queries, None] - matrix[None]).sum(axis=-1)
    apart[np.arange(len(queries)), queries] = np.inf
    costs = np.take_along_axis(apart, found, axis=1)
    np.testing.assert_allclose(costs, np.sort(apart, axis=1)[:, :5], rtol=1e-4)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_true_neighbours_within_a_tight_cluster_beside_others_are_the_same(metric):
    generator = np.random.default_rng(5)
    twins = 1 + 1e-3 * generator.standard_normal((60, 6))
    matrix = generator.standard_normal((2000, 6))
    matrix[:1600] = twins[generator.integers(60, size=1600)]
    matrix = matrix.astype(np.float16).astype(np.float64)
    queries = np.arange(0, 2000, 9)
    found = true_neighbors(item_vectors(matrix.astype(np.float16)), queries, metric, 30)
    if metric == "cosine":
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    apart = np.square(matrix[queries, None] - matrix[None]).sum(axis=-1)
    apart[np.arange(len(queries)), queries] = np.inf
    reached = np.take_along_axis(apart, found, axis=1)
    np.testing.assert_allclose(reached, np.sort(apart, axis=1)[:, :30], rtol=1e-3, atol=1e-12)


def test_blocks_leave_no_neighbour_out_and_ties_stay_with_the_first(monkeypatch):
    monkeypatch.setattr(true_neighbors_module, "BLOCK_ROWS", 7)
    matrix = np.random.default_rng(3).integers(1, 4, (60, 2)).astype(np.float32)
    queries = np.array([0, 13, 59])
    found = true_neighbors(item_vectors(matrix), queries, "l2", 10)
    costs = np.square(matrix[:, None] - matrix).sum(axis=2)  # whole numbers, so ties are exact
    for query, nearest in zip(queries, found, strict=True):
        expected = [item for item in np.argsort(costs[query], kind="stable") if item != query]
        assert nearest.tolist() == expected[:10]


def test_chance_is_counted_over_all_pairs():
    codes = np.random.default_rng(1).integers(8, size=(60, 2))
    books = quantizer()
    found = neighborhood(books, item_vectors(clustered(60)), codes, vicinity=3, seed=0)
    away = np.square(books.centroids[1][:, None] - books.centroids[1]).sum(axis=2)
    same = codes[:, 0][:, None] == codes[:, 0]
    near = np.argsort(np.argsort(away, axis=1), axis=1)[codes[:, 1]][:, codes[:, 1]] < 3
    assert found["sid1"]["chance"] == pytest.approx((same.sum() - 60) / (60 * 59))
    assert found["vicinity"]["chance"] == pytest.approx(((same & near).sum() - 60) / (60 * 59))


def test_one_item_has_no_neighbour():
    found = neighborhood(
        quantizer(), item_vectors(clustered(1)), np.zeros((1, 2), int), vicinity=3, seed=0
    )
    assert found["sid1"] == found["vicinity"] == {"recall@10": 0.0, "chance": 0.0}


def test_few_items_are_no_trouble():
    codes = np.zeros((2, 2), int)
    found = neighborhood(quantizer(), item_vectors(clustered(2)), codes, vicinity=3, seed=0)
    assert found["sid1"] == {"recall@10": 1.0, "chance": 1.0}


def test_held_out_transitions_are_counted():
    interactions = small_interactions()  # holds out 3 -> 4 of user 0 and 2 -> 6 of nobody
    codes = np.ones((8, 2), np.int32)
    codes[0] = 0
    found = cooccurrence(quantizer(), codes, interactions, vicinity=1, seed=0)
    assert found == {
        "pairs": 1,
        "sid1": {"share": 1.0, "chance": 1.0},
        "vicinity": {"share": 1.0, "chance": 1.0},
    }
    codes[4] = [2, 1]
    found = cooccurrence(quantizer(), codes, interactions, vicinity=1, seed=0)
    assert found is not None
    assert found["sid1"]["share"] == found["vicinity"]["share"] == 0.0
    codes[4] = 0
    assert cooccurrence(quantizer(), codes, interactions, vicinity=1, seed=0) is None


def test_chance_is_of_two_items_as_the_share_is():
    """Half of the targets that are dealt out anew are the item itself, which is near to itself."""
    events = np.array([[1, 2], [2, 1]] * 500, np.int32).ravel()
    last = np.arange(1, len(events), 2)
    interactions = replace(small_interactions(), item_ids=events, validation_event=last)
    codes = np.array([[0, 0], [1, 1], [2, 1]], np.int32)
    found = cooccurrence(quantizer(), codes, interactions, vicinity=1, seed=0)
    nothing = {"share": 0.0, "chance": 0.0}
    assert found == {"pairs": 1000, "sid1": nothing, "vicinity": nothing}


def test_no_training_sample_holds_all_the_queries():
    """Both are drawn without replacement from the same positions, by the same seed."""
    count, size = 300_000, 150_000
    sample = np.random.default_rng(7).choice(count, size, replace=False, shuffle=False)
    shared = np.isin(_draw_queries(count, 7), sample).mean()
    assert shared == pytest.approx(size / count, abs=0.1)
