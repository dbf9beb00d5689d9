"""faiss indexes against exact search."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model import partial_folders
from model.errors import InputError
from model.inference import search_index
from model.inference.cascade import recommend
from model.inference.filters import Seen
from model.inference.search import ExactSearch
from model.inference.search_index import IndexSearch, SearchIndex, build_index, with_index
from tests.damage import damage
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions

NUM_ITEMS, DIM = 3000, 16


@pytest.fixture(scope="module")
def exact() -> ExactSearch:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, DIM, generator=generator)
    noise = torch.randn(NUM_ITEMS, DIM, generator=generator)
    vectors = F.normalize(centres[torch.arange(NUM_ITEMS) % 40] + 0.5 * noise, dim=-1)
    return ExactSearch(vectors, 0.05 * torch.randn(NUM_ITEMS, generator=generator))


@pytest.fixture(scope="module")
def queries(exact) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = 0.3 * torch.randn(100, DIM, generator=generator)
    return F.normalize(exact.vectors[:100] + noise, dim=-1)


def seen_some() -> Seen:
    return Seen(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 40, 2, 42, 82]), NUM_ITEMS)


@pytest.fixture(scope="module", params=["ivf", "hnsw"])
def index(request, exact, queries) -> SearchIndex:
    return build_index(exact, np.arange(1, NUM_ITEMS + 1), request.param, queries, seed=1)


def test_measured_recall_is_the_share_of_the_true_ten(index, exact, queries):
    assert index.facts["recall@10"] >= 0.9
    scores = queries @ exact.vectors.T + exact.bias
    truth = scores.topk(10).indices
    nothing = torch.zeros(0, dtype=torch.long)
    _, found = IndexSearch(index, exact).search(queries, 10, Seen(nothing, nothing, NUM_ITEMS))
    recalls = np.array([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)])
    measured = recalls[1::2] if index.facts["kind"] == "ivf" else recalls
    assert measured.mean() == pytest.approx(index.facts["recall@10"], abs=0.002)
    assert len(measured) == index.facts["queries"]


def test_the_queries_that_measure_the_recall_choose_no_probes(exact, queries):
    items = np.arange(1, NUM_ITEMS + 1)
    one = build_index(exact, items, "ivf", queries, seed=1)
    strangers = queries.clone()
    strangers[1::2] *= 0.05  # the bias decides, and few lists find little
    two = build_index(exact, items, "ivf", strangers, seed=1)
    assert 1 < two.facts["probes"] == one.facts["probes"]
    assert two.facts["recall@10"] < one.facts["recall@10"]
    alone = build_index(exact, items, "ivf", queries[:1], seed=1)
    assert alone.facts["queries"] == 1


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


def test_a_tiny_catalogue_is_indexed_without_a_word(capfd):
    few = ExactSearch(F.normalize(torch.randn(12, 4), dim=-1), torch.zeros(12))
    index = build_index(few, np.arange(12), "ivf", torch.randn(3, 4), seed=0)
    assert index.facts["lists"] == 1
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_more_asked_than_exist_are_missing():
    few = ExactSearch(F.normalize(torch.randn(6, 4), dim=-1), torch.zeros(6))
    index = build_index(few, np.arange(6), "hnsw", torch.randn(3, 4), seed=0)
    seen = Seen(torch.tensor([1]), torch.tensor([5]), 6)
    scores, rows = IndexSearch(index, few).search(torch.randn(2, 4), 8, seen)
    assert sorted(rows[0].tolist()) == [-1, -1, 0, 1, 2, 3, 4, 5]
    assert sorted(rows[1].tolist()) == [-1, -1, -1, 0, 1, 2, 3, 4]
    assert ((rows == -1) == (scores == -torch.inf)).all()


def test_saves_and_loads_and_is_the_same_bytes_again(index, exact, queries, tmp_path):
    index.save(tmp_path / "a")
    again = build_index(exact, index.item_ids, index.facts["kind"], queries, seed=1)
    again.save(tmp_path / "b")
    for name in ("index.faiss", "item_ids.npy", "search_index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = SearchIndex.load(tmp_path / "a")
    assert loaded.facts == index.facts
    one = IndexSearch(index, exact).search(queries, 10, seen_some())
    two = IndexSearch(loaded, exact).search(queries, 10, seen_some())
    assert one[1].equal(two[1])


@pytest.mark.parametrize("kept", [None, 0, 100, -1])
@pytest.mark.parametrize("name", ["index.faiss", "item_ids.npy"])
def test_a_damaged_index_is_refused(index, tmp_path, name, kept):
    index.save(tmp_path / "a")
    damage(tmp_path / "a" / name, kept)
    with pytest.raises(InputError, match=name):
        SearchIndex.load(tmp_path / "a")


def test_the_parameter_chooses_the_search():
    interactions = random_interactions(30, 200)
    exact, facts = with_index(fake_recommender(interactions, cascade_params()), None)
    assert facts == {"kind": "exact"}
    approximate = cascade_params(search="hnsw")
    indexed, facts = with_index(fake_recommender(interactions, approximate), None)
    assert facts["kind"] == "hnsw"
    assert facts["queries"] == 30
    users = np.arange(30)
    one = recommend(exact, "test", users, beam_weight=0.0)
    two = recommend(indexed, "test", users, beam_weight=0.0)
    assert np.array_equal(one.item_ids, two.item_ids)  # 200 items: the graph finds them all


def test_an_index_is_kept_and_built_again_only_for_other_vectors(tmp_path, monkeypatch):
    interactions, params = random_interactions(30, 200), cascade_params(search="ivf")
    built: list[int] = []

    def counting(*given, **named):
        built.append(1)
        return build_index(*given, **named)

    monkeypatch.setattr("model.inference.search_index.build_index", counting)
    one, facts = with_index(fake_recommender(interactions, params), tmp_path)
    two, again = with_index(fake_recommender(interactions, params), tmp_path)
    assert facts == again
    assert len(built) == 1
    users = np.arange(30)
    first, second = (recommend(way, "test", users, beam_weight=0.0) for way in (one, two))
    assert np.array_equal(first.item_ids, second.item_ids)
    (folder,) = tmp_path.iterdir()
    assert SearchIndex.load(folder).facts["recall@10"] == facts["recall@10"]
    damage(folder / "index.faiss", 100)
    with_index(fake_recommender(interactions, params), tmp_path)
    with_index(fake_recommender(interactions, params, seed=1), tmp_path)
    assert len(built) == 3
    with_index(fake_recommender(interactions, params, seed=2), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not folder.exists()


def test_an_index_that_other_code_built_is_not_opened(tmp_path, monkeypatch):
    recommender = fake_recommender(random_interactions(30, 200), cascade_params(search="ivf"))
    with_index(recommender, tmp_path)
    monkeypatch.setattr(faiss, "__version__", "0.0")
    with_index(recommender, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(search_index, "hash_sources", lambda *parts: f"edited {parts}")
    with_index(recommender, tmp_path)
    assert set(tmp_path.iterdir()) - before


def test_the_index_that_is_kept_is_the_one_last_used(tmp_path):
    interactions, params = random_interactions(30, 200), cascade_params(search="hnsw")
    for hour, seed in enumerate([0, 1]):
        with_index(fake_recommender(interactions, params, seed=seed), tmp_path)
        (folder,) = [path for path in tmp_path.iterdir() if path.stat().st_mtime > 1e5]
        os.utime(folder, (3600 * hour, 3600 * hour))
    champion, challenger = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    with_index(fake_recommender(interactions, params, seed=0), tmp_path)
    with_index(fake_recommender(interactions, params, seed=2), tmp_path)
    assert champion.exists()
    assert not challenger.exists()


def test_an_index_that_another_process_is_writing_stays_and_counts_for_none(tmp_path):
    interactions, params = random_interactions(30, 200), cascade_params(search="ivf")
    with_index(fake_recommender(interactions, params, seed=0), tmp_path)
    (kept,) = tmp_path.iterdir()
    host = partial_folders._host()
    written = [tmp_path / f".{name}.partial-{host}-1" for name in "abc"]  # process 1 lives
    abandoned = tmp_path / f".d.partial-{host}-999999999"
    for folder in (*written, abandoned):
        folder.mkdir()
        os.utime(folder, (3600, 3600))
    with_index(fake_recommender(interactions, params, seed=1), tmp_path)
    assert all(folder.exists() for folder in (kept, *written))
    assert not abandoned.exists()


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
