"""Searching an index, against exact search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.inference.approximate_search import IndexSearch
from model.inference.filters import Seen
from model.inference.index_building import build_index
from model.inference.index_cache import with_index
from model.inference.search import ExactSearch
from model.inference.search_index import SearchIndex
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions
from tests.model.inference.small_index import NUM_ITEMS, seen_some


def test_scores_are_exact_and_seen_items_left_out(index, exact, queries):
    seen = seen_some()
    scores, rows = IndexSearch(index, exact).search(queries[:5], 10, seen)
    expected = (queries[:5] @ exact.vectors.T + exact.bias).gather(1, rows)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    assert not seen.contains(rows).any()


def test_a_user_for_whom_the_index_finds_too_few_is_searched_exactly(exact, queries):
    index = build_index(exact, np.arange(1, NUM_ITEMS + 1), "ivf", queries, seed=1)
    index.index.nprobe = 1  # one list of dozens of items: never 200
    seen = seen_some()
    scores, rows = IndexSearch(index, exact).search(queries[:3], 200, seen)
    expected, _ = exact.search(queries[:3], 200, seen)
    torch.testing.assert_close(scores, expected)
    assert (rows >= 0).all()
    scores, rows = IndexSearch(index, exact, complete=False).search(queries[:3], 200, seen)
    found = (rows >= 0).sum(dim=1)
    assert (found > 0).all()
    assert (found < 200).all()
    assert ((rows == -1) == (scores == -torch.inf)).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_of_equal_items_a_user_gets_the_same_whoever_shares_the_batch(exact, queries, kind):
    copies = ExactSearch(exact.vectors[:100].repeat(30, 1), exact.bias[:100].repeat(30))
    index = build_index(copies, np.arange(NUM_ITEMS), kind, queries, seed=1)
    search, nothing = IndexSearch(index, copies), torch.zeros(0, dtype=torch.long)
    much = torch.arange(500)  # seen by the last user alone
    batch = Seen(torch.full_like(much, len(queries) - 1), much, NUM_ITEMS)
    together = search.search(queries, 10, batch)
    alone = search.search(queries[:-1], 10, Seen(nothing, nothing, NUM_ITEMS))
    for found, expected in zip(together, alone, strict=True):
        assert found[:-1].equal(expected)
    assert not batch.contains(together[1]).any()


def test_a_search_asks_for_powers_of_two_as_far_as_there_are_items(index, exact):
    seen = torch.tensor([0, 1, 6, 7, 8, 1014, 1015, 1016, 4000])
    depths = IndexSearch(index, exact)._depths(9, seen)
    assert depths.tolist() == [16, 16, 16, 16, 32, 1024, 1024, 2048, NUM_ITEMS]


def test_more_asked_than_exist_are_missing():
    few = ExactSearch(F.normalize(torch.randn(6, 4), dim=-1), torch.zeros(6))
    index = build_index(few, np.arange(6), "hnsw", torch.randn(3, 4), seed=0)
    seen = Seen(torch.tensor([1]), torch.tensor([5]), 6)
    scores, rows = IndexSearch(index, few).search(torch.randn(2, 4), 8, seen)
    assert sorted(rows[0].tolist()) == [-1, -1, 0, 1, 2, 3, 4, 5]
    assert sorted(rows[1].tolist()) == [-1, -1, -1, 0, 1, 2, 3, 4]
    assert ((rows == -1) == (scores == -torch.inf)).all()


class FakeGpuIndex:
    """What faiss would give: it refuses what a GPU refuses, and keeps what it was asked."""

    def __init__(self, number: int, index: Any) -> None:
        self.number, self.index = number, index
        self.depths: list[int] = []

    def search(self, queries: np.ndarray, k: int) -> Any:
        assert k <= 2048
        self.depths.append(k)
        return self.index.search(queries, k)


def searched_on(monkeypatch, folder: Path | None, *, gpus: int, device: str, **changes) -> Any:
    """The index behind the search where faiss sees so many GPUs."""
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: gpus)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _, *g: FakeGpuIndex(*g), raising=False)
    recommender = fake_recommender(random_interactions(30, 3000), cascade_params(**changes))
    indexed, _ = with_index(replace(recommender, device=torch.device(device)), folder)
    return indexed.search


def test_inverted_lists_are_searched_on_the_gpu_and_kept_on_the_cpu(monkeypatch, tmp_path):
    search = searched_on(
        monkeypatch, tmp_path, gpus=2, device="cuda:1", search="ivf", filter_cold=False
    )
    moved = search.index.index
    assert (type(moved), moved.number) == (FakeGpuIndex, 1)
    (folder,) = tmp_path.iterdir()
    assert isinstance(SearchIndex.load(folder).index, faiss.IndexIVFFlat)
    # as deep as a GPU goes, and exactly beyond
    nothing = torch.zeros(0, dtype=torch.long)
    queries, seen = torch.randn(2, 6), Seen(nothing, nothing, 3000)
    scores, rows = search.search(queries, 2500, seen)
    assert moved.depths == [2048]
    torch.testing.assert_close(scores, search.exact.search(queries, 2500, seen)[0])
    assert (rows >= 0).all()


@pytest.mark.parametrize(
    ("gpus", "device", "kind"), [(0, "cuda:0", "ivf"), (1, "cpu", "ivf"), (1, "cuda:0", "hnsw")]
)
def test_without_a_gpu_or_its_form_the_search_stays_on_the_cpu(monkeypatch, gpus, device, kind):
    search = searched_on(monkeypatch, None, gpus=gpus, device=device, search=kind)
    assert isinstance(search.index.index, faiss.IndexIVFFlat | faiss.IndexHNSWFlat)
