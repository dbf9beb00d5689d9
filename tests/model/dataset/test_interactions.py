"""The store on disk: a damaged file is named, never read."""

import pytest

from model.dataset.interactions import Interactions
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
        "items/scalar_100.npy",
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
@pytest.mark.parametrize("name", ["counts.npy", "pop_keys.npy", "monthly.parquet"])
def test_damaged_statistics(store, name, kept):
    damage(store / "item_statistics" / name, kept)
    with pytest.raises(InputError, match=rf"{name}: (not found|truncated).*materiali[sz]e"):
        ItemStatistics.load(store / "item_statistics")
