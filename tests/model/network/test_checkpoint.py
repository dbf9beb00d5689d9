import copy
import dataclasses
import os
import pickle

import pytest
import torch
from safetensors import SafetensorError

from model.errors import InputError
from model.network.checkpoint import WEIGHTS, Checkpoint, weights_of
from tests.model.small_network import forbid_to_open, network_params

PARAMS = network_params()


@pytest.fixture
def checkpoint(data):
    network = data.network(PARAMS)
    return Checkpoint(weights_of(network), PARAMS.model_dump(mode="json"), data.schema(), {"a": 1})


def test_comes_back_as_it_was_saved(data, checkpoint, tmp_path):
    checkpoint.save(tmp_path / "one")
    loaded = Checkpoint.load(tmp_path / "one")
    assert loaded.schema == checkpoint.schema
    assert loaded.metadata == {"a": 1}
    batch = data.training_batch(PARAMS)
    with torch.no_grad():
        expected = data.network(PARAMS).eval().encode(batch).hidden
        assert torch.equal(loaded.build().encode(batch).hidden, expected)
    loaded.save(tmp_path / "two")
    for name in ("weights.safetensors", "checkpoint.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_other_items_of_the_same_number_are_refused(data, checkpoint, tmp_path):
    everything = (data.interactions, data.statistics, data.embeddings)
    more = {**data.embeddings, "99": data.embeddings["81"]}  # that the network does not look at
    checkpoint.require_data(*everything)
    checkpoint.require_data(*everything[:2], more)
    raw_ids = data.interactions.raw_item_ids
    turned = dataclasses.replace(data.interactions, raw_item_ids=raw_ids[::-1])
    for others in (
        (turned, *everything[1:]),
        (*everything[:2], {"81": data.embeddings["81"]}),
    ):
        with pytest.raises(InputError, match="the checkpoint: trained on other items or features"):
            checkpoint.require_data(*others)
    checkpoint.save(tmp_path / "one")
    with pytest.raises(InputError, match=r"/one: trained on other items .*; train again on these"):
        Checkpoint.load(tmp_path / "one").require_data(turned, *everything[1:])


@pytest.mark.parametrize(
    "full", ["No space left on device (os error 28)", "Disk quota exceeded (os error 122)"]
)
def test_a_disk_that_fills_up_under_the_weights_is_one_sentence(
    checkpoint, tmp_path, monkeypatch, full
):
    reason = full

    def fill(tensors, path):
        raise SafetensorError(f"Error while serializing: I/O error: {reason}")

    monkeypatch.setattr("model.network.checkpoint.save_file", fill)
    with pytest.raises(InputError, match="one: the disk filled up while writing"):
        checkpoint.save(tmp_path / "one")
    reason = "Input/output error (os error 5)"
    with pytest.raises(SafetensorError, match="os error 5"):
        checkpoint.save(tmp_path / "one")


@pytest.mark.parametrize("kept", [0, 5, 2000])
def test_a_truncated_file_is_named(checkpoint, tmp_path, kept):
    checkpoint.save(tmp_path / "one")
    path = tmp_path / "one" / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"weights\.safetensors: truncated or damaged"):
        Checkpoint.load(tmp_path / "one")


def test_a_pickle_under_its_name_is_refused_and_not_run(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "one")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "one" / WEIGHTS).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError):
        Checkpoint.load(tmp_path / "one")
    assert not (tmp_path / "ran").exists()


def test_another_configuration_is_refused_by_name(checkpoint, tmp_path):
    params = dict(checkpoint.network_params, dim=32)
    dataclasses.replace(checkpoint, network_params=params).save(tmp_path / "one")
    with pytest.raises(InputError, match=r"one/weights\.safetensors: .* another configuration"):
        Checkpoint.load(tmp_path / "one").build()


def test_facts_of_another_version_are_refused(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "one")
    (tmp_path / "one" / "checkpoint.json").write_text('{"schema": {"num_items": 3}}')
    with pytest.raises(InputError, match=r"checkpoint\.json: written by another version"):
        Checkpoint.load(tmp_path / "one")


@pytest.mark.parametrize("missing", ["num_heads", "features", "features.hash_dim"])
def test_a_configuration_that_lacks_a_value_is_refused_by_name(checkpoint, tmp_path, missing):
    values = copy.deepcopy(checkpoint.network_params)
    *path, name = missing.split(".")
    del (values[path[0]] if path else values)[name]
    dataclasses.replace(checkpoint, network_params=values).save(tmp_path / "one")
    sentence = rf"one/checkpoint\.json: .*\(network_params\.{missing} is missing"
    with pytest.raises(InputError, match=sentence):
        Checkpoint.load(tmp_path / "one").build()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        Checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.json"])
def test_a_file_that_must_not_be_read_is_not_called_missing(
    checkpoint, tmp_path, monkeypatch, name
):
    checkpoint.save(tmp_path / "one")
    forbid_to_open(monkeypatch, name)
    with pytest.raises(InputError, match=rf"one/{name}: cannot be read \(Permission denied\)"):
        Checkpoint.load(tmp_path / "one")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_weights_may_be_read_by_whom_the_facts_may_be(checkpoint, tmp_path, mask):
    before = os.umask(mask)
    try:
        checkpoint.save(tmp_path / "one")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "one").iterdir()]
    assert modes == [0o666 & ~mask] * 2
