"""Three doors into one store."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from model.dataset.interactions import Interactions
from tests.tiny import (
    FORMATS,
    ITEM_ARRAYS,
    ITEM_SCALARS,
    MODALITY_WIDTHS,
    NUM_ITEMS,
    NUM_KNOWN_ITEMS,
    NUM_USERS,
    USER_ARRAYS,
    USER_SCALARS,
    write_tiny_world,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


def assert_equal_tables(left, right):
    assert left.num_rows == right.num_rows
    assert left.vocabulary_sizes == right.vocabulary_sizes
    assert list(left.scalars) == list(right.scalars)
    assert list(left.arrays) == list(right.arrays)
    for name, column in left.scalars.items():
        np.testing.assert_array_equal(column, right.scalars[name], err_msg=name)
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array.offsets, right.arrays[name].offsets, err_msg=name)
        np.testing.assert_array_equal(array.values, right.arrays[name].values, err_msg=name)


def assert_equal_stores(left: Interactions, right: Interactions):
    for name in (
        "offsets",
        "item_ids",
        "action_types",
        "timestamps",
        "train_end",
        "validation_event",
        "test_event",
        "target_actions",
        "candidate_item_ids",
    ):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.num_known_items == right.num_known_items
    assert left.raw_item_ids.to_pylist() == right.raw_item_ids.to_pylist()
    assert left.raw_user_ids.to_pylist() == right.raw_user_ids.to_pylist()
    assert_equal_tables(left.items, right.items)
    assert_equal_tables(left.users, right.users)


@pytest.mark.parametrize("layout", FORMATS)
def test_the_store_holds_what_was_written(world, layout):
    store = world.interactions(layout)
    assert (store.num_users, store.num_items) == (NUM_USERS, NUM_ITEMS)
    assert store.num_known_items == NUM_KNOWN_ITEMS
    assert store.raw_item_ids.to_pylist() == [str(raw) for raw in world.raw_items]
    assert store.raw_user_ids.to_pylist() == world.raw_users
    written = [event for history in world.events for event in history]
    assert store.item_ids.tolist() == [item for item, _, _ in written]
    assert store.action_types.tolist() == [action or 0 for _, action, _ in written]
    assert store.timestamps.tolist() == [time for _, _, time in written]
    assert np.diff(store.offsets).tolist() == [len(history) for history in world.events]
    assert store.candidate_item_ids.tolist() == sorted(world.candidates)


@pytest.mark.parametrize("layout", FORMATS)
def test_the_store_holds_the_features(world, layout):
    store = world.interactions(layout)
    for table, written, scalars, arrays in (
        (store.items, world.items, ITEM_SCALARS, ITEM_ARRAYS),
        (store.users, world.users, USER_SCALARS, USER_ARRAYS),
    ):
        assert table.vocabulary_sizes == scalars | arrays
        for name in scalars:
            assert table.scalars[name].tolist() == [0, *written[name]]
        for name in arrays:
            offsets, values = table.arrays[name].offsets, table.arrays[name].values
            rows = [values[i:j].tolist() for i, j in itertools.pairwise(offsets)]
            assert rows == [[], *written[name]]


@pytest.mark.parametrize("layout", FORMATS[1:])
@pytest.mark.parametrize("strategy", ["leave_one_out", "last_positive"])
def test_the_formats_give_equal_stores(world, layout, strategy):
    expected = world.interactions(FORMATS[0], strategy, 0.5)
    assert_equal_stores(expected, world.interactions(layout, strategy, 0.5))


@pytest.mark.parametrize("layout", FORMATS)
def test_a_saved_store_is_the_same_store(world, layout, tmp_path):
    store = world.interactions(layout)
    store.save(tmp_path / "store")
    assert_equal_stores(store, Interactions.load(tmp_path / "store"))


@pytest.mark.parametrize("layout", FORMATS[1:])
@pytest.mark.parametrize("modality", MODALITY_WIDTHS)
def test_the_formats_give_equal_vectors(world, layout, modality, tmp_path):
    expected = world.modality_embedding(modality, tmp_path / "a")
    found = world.modality_embedding(modality, tmp_path / "b", layout)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    np.testing.assert_array_equal(found.states, expected.states)
    assert found.counts == expected.counts


def test_raw_ids_are_strings(world):
    assert pa.types.is_large_string(world.interactions().raw_item_ids.type)
