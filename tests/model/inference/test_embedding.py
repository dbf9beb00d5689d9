"""All items' vectors, in a file that has its room before it is written."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.errors import InputError
from model.inference.embedding import embed_items
from model.network.checkpoint import Checkpoint, weights_of
from tests.model.small_network import CPU, network_params

PARAMS = network_params()


@pytest.fixture
def checkpoint(data):
    weights = weights_of(data.network(PARAMS))
    return Checkpoint(weights, PARAMS.model_dump(mode="json"), data.schema(), {})


def test_every_item_has_its_unit_vector(data, checkpoint, tmp_path):
    found = embed_items(checkpoint, data.features, CPU, scratch=tmp_path)
    item_ids = np.arange(1, data.interactions.num_items + 1)
    with torch.no_grad():
        vectors = checkpoint.build().embed_items(data.features.gather(torch.from_numpy(item_ids)))
    assert found.item_ids.tolist() == item_ids.tolist()
    np.testing.assert_allclose(found.matrix, F.normalize(vectors), atol=1e-6)
    assert list(tmp_path.iterdir()) == []  # unnamed, so that nothing is left of it


def test_too_little_space_is_a_sentence(data, checkpoint, tmp_path, monkeypatch):
    """A page of a memory map that cannot be had would end the process by a signal."""
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr("model.artifact.shutil.disk_usage", lambda path: usage)
    size = 2 * 4 * data.interactions.num_items * PARAMS.dim
    with pytest.raises(InputError, match=f"fused_embeddings needs about {size:,} bytes and 10 are"):
        embed_items(checkpoint, data.features, CPU, scratch=tmp_path)
