"""An index as it is saved."""

import pytest

from model.errors import InputError
from model.inference.approximate_search import IndexSearch
from model.inference.index_building import build_index
from model.inference.search_index import SearchIndex
from tests.damage import damage
from tests.model.inference.small_index import seen_some


def test_saves_and_loads_and_is_the_same_bytes_again(index, exact, queries, tmp_path):
    index.save(tmp_path / "a")
    again = build_index(exact, index.item_ids, index.facts["kind"], queries, seed=1)
    again.save(tmp_path / "b")
    for name in ("index.faiss", "item_ids.npy", "search_index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = SearchIndex.load(tmp_path / "a")
    assert loaded.facts == index.facts
    if loaded.facts["kind"] == "ivf":
        assert loaded.index.nprobe == loaded.facts["probes"] > 1
    else:
        assert loaded.index.hnsw.efSearch == loaded.facts["ef_search"]
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
