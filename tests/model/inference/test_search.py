"""Exact search against a full sort."""

import pytest
import torch

from model.inference import search as module
from model.inference.filters import Seen
from model.inference.search import ExactSearch

NOTHING = torch.zeros(0, dtype=torch.long)


def nothing_seen(num_rows: int) -> Seen:
    return Seen(NOTHING, NOTHING, num_rows)


def full_sort(search: ExactSearch, queries: torch.Tensor, k: int, seen: Seen) -> torch.Tensor:
    scores = queries @ search.vectors.T + search.bias
    scores[seen.owners, seen.rows] = -torch.inf
    return scores.sort(dim=1, descending=True).indices[:, :k]


@pytest.mark.parametrize("num_rows", [30, 700, 20_000])
@pytest.mark.parametrize("k", [1, 10])
def test_is_a_full_sort_whatever_the_pieces(num_rows, k, monkeypatch):
    monkeypatch.setitem(module.SCORES_AT_ONCE, "cpu", 1)  # the smallest piece: 4,096 rows
    search = ExactSearch(torch.randn(num_rows, 8), torch.randn(num_rows))
    queries = torch.randn(5, 8)
    seen = Seen(torch.tensor([0, 0, 3]), torch.tensor([2, num_rows - 1, 7]), num_rows)
    scores, rows = search.search(queries, k, seen)
    expected = full_sort(search, queries, k, seen)
    assert rows.equal(expected)
    torch.testing.assert_close(
        scores, (queries @ search.vectors.T + search.bias).gather(1, expected)
    )


def test_all_of_the_best_may_stand_in_one_block():
    vectors = torch.zeros(10_000, 1)
    vectors[128:138, 0] = torch.arange(10) + 1.0
    search = ExactSearch(vectors, torch.zeros(10_000))
    _, rows = search.search(torch.ones(1, 1), 10, nothing_seen(10_000))
    assert rows.tolist() == [list(range(137, 127, -1))]


def test_fewer_items_than_asked_are_missing_and_not_the_last_item():
    search = ExactSearch(torch.randn(3, 4), torch.zeros(3))
    seen = Seen(torch.tensor([0]), torch.tensor([1]), 3)
    scores, rows = search.search(torch.randn(2, 4), 5, seen)
    assert sorted(rows[0].tolist()) == [-1, -1, -1, 0, 2]
    assert sorted(rows[1].tolist()) == [-1, -1, 0, 1, 2]
    assert ((rows == -1) == (scores == -torch.inf)).all()


@pytest.mark.parametrize("k", [1, 10, 100])
def test_of_equal_scores_the_first_row_counts_however_many_users_share_a_batch(k):
    vectors = torch.randint(-2, 3, (9_000, 3)).float()  # sums of small integers are exact
    search = ExactSearch(vectors, torch.randint(0, 2, (9_000,)).float())
    queries = torch.randint(-2, 3, (600, 3)).float()
    owners = torch.arange(600).repeat_interleave(40)
    shown = (queries @ vectors.T + search.bias).topk(40, dim=1).indices.sort(dim=1).values
    seen = Seen(owners, shown.flatten(), 9_000)
    scores = queries @ vectors.T + search.bias
    scores[seen.owners, seen.rows] = -torch.inf
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    _, rows = search.search(queries, k, seen)  # pieces of 4,096 rows
    assert rows.equal(expected)
    for user in (0, 599):  # one piece
        _, alone = search.search(queries[[user]], k, seen.of_users(torch.tensor([user])))
        assert alone.equal(expected[[user]])


@pytest.mark.parametrize("num_rows", [13, 40, 5003, 30_001])
def test_equal_vectors_have_equal_scores_wherever_they_stand(num_rows):
    """Also in the last columns of a product, which no tile is full of, and for one user alone."""
    generator = torch.Generator().manual_seed(0)
    distinct = torch.nn.functional.normalize(torch.randn(5, 64, generator=generator), dim=1)
    search = ExactSearch(distinct[torch.arange(num_rows) % 5], torch.zeros(num_rows))
    queries = torch.nn.functional.normalize(torch.randn(512, 64, generator=generator), dim=1)
    _, together = search.search(queries, 10, nothing_seen(num_rows))
    alone = [search.search(query, 10, nothing_seen(num_rows))[1] for query in queries.split(1)]
    assert together.equal(torch.cat(alone))
