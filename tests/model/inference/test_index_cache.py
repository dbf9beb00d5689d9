"""Which search a parameter gives, and which indexes are kept."""

import os

import faiss
import numpy as np

from model import partial_folders
from model.inference import index_cache
from model.inference.cascade import recommend
from model.inference.index_building import build_index
from model.inference.index_cache import with_index
from model.inference.search_index import SearchIndex
from tests.damage import damage
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions


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

    monkeypatch.setattr("model.inference.index_cache.build_index", counting)
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
    monkeypatch.setattr(index_cache, "hash_sources", lambda *parts: f"edited {parts}")
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
