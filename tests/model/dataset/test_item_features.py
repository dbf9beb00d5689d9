import dataclasses

import numpy as np
import pytest
import torch

from model.dataset.item_features import ItemFeatureStore
from tests.model.small_network import CPU


def test_features_are_those_of_the_ids(data):
    ids = torch.tensor([0, 3, 60, 3, 68])
    found = data.features.gather(ids)
    table = data.interactions.items
    for name, column in table.scalars.items():
        assert found.scalar(name).tolist() == [int(column[i]) for i in ids]
    for name, column in table.arrays.items():
        for row, i in enumerate(ids.tolist()):
            values = column.values[column.offsets[i] : column.offsets[i + 1]].tolist()
            assert found.array(name)[row, : len(values)].tolist() == values
            assert not found.array(name)[row, len(values) :].any()
    assert np.array_equal(found.life_cycle(), data.statistics.life_cycle[ids])


def test_vectors_have_length_one_and_a_missing_one_is_told_apart(data):
    ids = torch.arange(data.interactions.num_items + 1)
    for name, embedding in data.embeddings.items():
        vectors, present = data.features.gather(ids).vectors(name)
        assert np.flatnonzero(present).tolist() == embedding.item_ids.tolist()
        assert torch.allclose(vectors[present].norm(dim=1), torch.ones(int(present.sum())))
        assert not vectors[~present].any()
        row = embedding.row_of[embedding.item_ids[4]]
        raw = torch.from_numpy(np.array(embedding.matrix[row])).float()
        assert torch.allclose(vectors[embedding.item_ids[4]], raw / raw.norm(), atol=1e-6)


def test_memory_mapped_columns_are_not_copied(data, tmp_path):
    data.interactions.save(tmp_path / "store")
    opened = type(data.interactions).load(tmp_path / "store")
    store = ItemFeatureStore(opened, data.statistics, data.embeddings, CPU)
    assert store.scalar_codes.data_ptr() == opened.items.scalars.matrix.ctypes.data


def test_two_data_sets_are_alike_if_items_and_vocabularies_are(data):
    schema = data.schema()
    assert data.schema().vocabulary_hash == schema.vocabulary_hash
    assert data.schema((4, 4)).vocabulary_hash == schema.vocabulary_hash
    names = data.interactions.raw_item_ids.to_pylist()
    swapped = data.interactions.raw_item_ids.take([1, 0, *range(2, len(names))])
    other = dataclasses.replace(
        data, interactions=dataclasses.replace(data.interactions, raw_item_ids=swapped)
    )
    assert other.schema().vocabulary_hash != schema.vocabulary_hash
    assert type(schema).from_json(schema.to_json()) == schema


@pytest.mark.parametrize("table", ["items", "users"])
def test_two_data_sets_whose_codes_stand_for_other_values_are_not_alike(data, table):
    features = getattr(data.interactions, table)
    name = next(iter(features.vocabulary_digests))
    renamed = dataclasses.replace(
        features, vocabulary_digests=features.vocabulary_digests | {name: "other"}
    )
    other = dataclasses.replace(
        data, interactions=dataclasses.replace(data.interactions, **{table: renamed})
    )
    assert other.schema().vocabulary_hash != data.schema().vocabulary_hash
