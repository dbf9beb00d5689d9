"""The store on disk: a damaged file is named, never read. Items are found by their raw ids."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from model.dataset.arrow import compute
from model.dataset.interactions import Interactions, items_named
from model.dataset.item_statistics import ItemStatistics, compute_item_statistics
from model.errors import InputError
from model.params import Params
from tests.damage import damage
from tests.tiny import PARAMS_FILE, write_tiny_world


@pytest.fixture
def store(tmp_path):
    interactions = write_tiny_world(tmp_path / "tiny").interactions()
    interactions.save(tmp_path / "interactions")
    params = Params.load(PARAMS_FILE).item_statistics
    compute_item_statistics(interactions, params).save(tmp_path / "item_statistics")
    return tmp_path


@pytest.mark.parametrize("kept", [None, 0, 60, -2])
@pytest.mark.parametrize(
    "name",
    [
        "item_ids.npy",
        "offsets.npy",
        "raw_item_ids.arrow",
        "items/scalars.npy",
        "users/schema.json",
    ],
)
def test_a_damaged_store(store, name, kept):
    damage(store / "interactions" / name, kept)
    with pytest.raises(
        InputError, match=rf"{name}: (not found|truncated|not valid JSON).*materiali[sz]e"
    ):
        Interactions.load(store / "interactions")


@pytest.mark.parametrize("kept", [None, 0, 60, -2])
@pytest.mark.parametrize("name", ["counts.npy", "pop_slots.npy", "monthly.parquet"])
def test_damaged_statistics(store, name, kept):
    damage(store / "item_statistics" / name, kept)
    with pytest.raises(InputError, match=rf"{name}: (not found|truncated).*materiali[sz]e"):
        ItemStatistics.load(store / "item_statistics")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_items_are_found_by_their_raw_ids_without_a_table_of_them(tmp_path, kind, monkeypatch):
    world = write_tiny_world(tmp_path)
    interactions = world.interactions()
    data = replace(interactions, raw_item_ids=interactions.raw_item_ids.cast(kind))
    index_in, tables = compute.index_in, []

    def watched(values, *, value_set):
        tables.append(len(value_set))
        return index_in(values, value_set=value_set)

    monkeypatch.setattr(compute, "index_in", watched)
    items = [5, 68, 1, 5]
    names = [data.raw_item_ids[item - 1].as_py() for item in items]
    found = items_named(data, [*names, "nobody", names[0]])
    assert found.tolist() == [5, 68, 1, 5, 0, 5]
    assert found.dtype == np.int64
    assert items_named(data, ["nobody"]).tolist() == [0]
    assert items_named(data, []).tolist() == []
    assert max(tables) == 3
