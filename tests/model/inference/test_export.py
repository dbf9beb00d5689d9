"""The folder that other systems read: as the submission ranks, and never in another's place."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from model.errors import InputError
from model.inference import export as export_module
from model.inference.export import export_model, require_export_folder
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions


@pytest.fixture
def model(tmp_path):
    """A model's files, of which only the bytes matter here."""
    for name in ("recommender_checkpoint", "codebook"):
        (tmp_path / "model" / name).mkdir(parents=True)
        (tmp_path / "model" / name / "bytes").write_text(name)
    return tmp_path / "model"


def _vectors(table):
    return np.stack(table["vector"].to_pylist()).astype(np.float32)


def test_products_of_the_vectors_are_the_scores_that_a_submission_ranks_by(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_module, "USERS_PER_SHARD", 4)
    monkeypatch.setattr(export_module, "_ITEMS_AT_ONCE", 7)
    interactions = random_interactions(10, 60)
    recommender = fake_recommender(interactions, cascade_params(logq_weight=0.3), without_sid=3)
    export_model(recommender, model, tmp_path / "out", origin={"seed": 42})
    items, users = (
        pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("items", "users")
    )
    catalogue = recommender.catalogue
    assert users["raw_user_id"].to_pylist() == interactions.raw_user_ids.to_pylist()
    assert items["raw_item_id"].to_pylist() == [
        interactions.raw_item_ids[item - 1].as_py() for item in catalogue.item_ids
    ]
    assert items["sid"].to_pylist() == catalogue.sids.tolist()
    assert items["sid"].to_pylist()[0] == [0, 0]
    assert items["training_events"].to_pylist() == catalogue.counts.tolist()
    scores = _vectors(users) @ _vectors(items).T - 0.3 * items["log_q"].to_numpy()
    seen = recommender.seen("submission", np.arange(10))
    scores[seen.owners, seen.rows] = -np.inf
    best, rows = recommender.search.search(torch.from_numpy(_vectors(users)), 5, seen)
    np.testing.assert_array_equal(np.argsort(-scores)[:, :5], rows.numpy())
    np.testing.assert_allclose(-np.sort(-scores)[:, :5], best.numpy(), rtol=1e-5)


def test_the_model_and_what_it_was_made_from_lie_beside_the_vectors(model, tmp_path):
    recommender = fake_recommender(random_interactions(10, 60), cascade_params())
    counts = export_model(recommender, model, tmp_path / "out", origin={"seed": 42})
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts == {**counts, "champion": "model", "logq_weight": 0.0, "origin": {"seed": 42}}
    assert (tmp_path / "out" / "codebook" / "bytes").read_text() == "codebook"
    assert (tmp_path / "out" / "recommender_checkpoint" / "bytes").exists()


def test_a_folder_that_holds_anything_else_is_left_alone(model, tmp_path):
    recommender = fake_recommender(random_interactions(10, 60), cascade_params())
    export_model(recommender, model, tmp_path / "out", origin={})
    require_export_folder(tmp_path / "out")  # an earlier export
    require_export_folder(tmp_path / "new")
    with pytest.raises(InputError, match="holds something that is no export; name a new folder"):
        require_export_folder(model)


def test_a_mount_point_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda self: self == tmp_path)
    with pytest.raises(InputError, match="a mount point cannot be replaced; name a folder inside"):
        require_export_folder(tmp_path)


def test_the_folder_above_must_be_writable(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match="not writable"):
        require_export_folder(tmp_path / "mine")


def test_a_model_that_is_not_whole_leaves_the_earlier_export(model, tmp_path):
    recommender = fake_recommender(random_interactions(10, 60), cascade_params())
    export_model(recommender, model, tmp_path / "out", origin={"seed": 1})
    (model / "codebook").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"codebook: not found"):
        export_model(recommender, model, tmp_path / "out", origin={"seed": 2})
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["origin"] == {"seed": 1}
