"""What cannot suffice, semantic IDs, targets or candidates, is no reason to train first."""

import numpy as np
import pytest
import yaml

from model.dataset.interactions import Interactions
from model.errors import InputError
from orchestration.materialization import materialize
from orchestration.workspace import open_workspace
from tests.orchestration.tiny_world import tiny_params, write_tiny_params


def test_more_items_than_semantic_ids_are_refused_before_the_encoder_is_trained(copied):
    values = yaml.safe_load(copied.params_file.read_text())
    values["codebook"]["sizes"] = [4, 4]
    values["encoder_checkpoint"]["epochs"] += 1  # so that it is due
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    done = copied.onepiece("materialize", "--only", "encoder_checkpoint")
    assert done.returncode != 0
    assert "codebook.capacity: the catalogue has 434 items and sizes [4, 4] spell 16" in done.stderr
    assert "epoch" not in done.stderr


def test_data_that_no_model_could_be_measured_on_is_refused_before_the_encoder_is_trained(tmp_path):
    rows = [f"u{user}\ti{user + step}\t{step}\n" for user in range(12) for step in range(2)]
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "raw.inter").write_text(header + "".join(rows))
    items = "".join(f"i{item}\tcommon word{item % 3}\n" for item in range(13))
    (tmp_path / "raw" / "raw.item").write_text("item_id:token\ttitle:token_seq\n" + items)
    values = tiny_params()
    values["network"]["features"]["modalities"] = ["text"]
    values["coverage_report"]["thresholds"] = {
        "default": values["coverage_report"]["thresholds"]["default"] | {"max_duplicate_rate": 1.0}
    }
    params = write_tiny_params(
        tmp_path / "params.yaml",
        raw_data={"format": "recbole", "source": str(tmp_path / "raw")},
        interactions={"split": {"strategy": "leave_one_out", "validation_fraction": 1.0}},
        modality_embeddings={"modalities": ["text"]},
        network=values["network"],
        coverage_report=values["coverage_report"],
    )
    workspace = open_workspace(params, tmp_path / "data")
    with pytest.raises(InputError, match="no user has a validation target, and no model could be"):
        materialize(workspace, ["encoder_checkpoint"], only=False, tags={})


@pytest.mark.parametrize(
    ("asset", "section"),
    [
        ("encoder_checkpoint", "encoder_checkpoint"),
        ("recommender_checkpoint", "recommender_checkpoint"),
        ("evaluation_report", "cascade"),
        ("scaling_points", "scaling_study"),
    ],
)
def test_a_cascade_that_leaves_too_few_is_refused_before_anything_is_made(copied, asset, section):
    """Item statistics stand: whether they suffice was asked of another cascade."""
    values = yaml.safe_load(copied.params_file.read_text())
    values["cascade"]["blocked_items"] = _all_candidates_but(9, copied)
    if asset == section:
        values[section]["epochs"] += 1  # so that it is due
    values["scaling_study"]["protocols"] = ["infonce_only"]
    values["scaling_study"]["points"] = ["infonce_only_l1_d8_e0_f100_s0"]
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(InputError, match=r"^only 9 of 150 candidates may be recommended and every"):
        materialize(copied.workspace, [asset], only=True, tags={})
    assert not (copied.data / ".resume" / asset).exists()


def test_a_user_whom_the_cascade_leaves_too_few_is_named_before_a_submission(copied):
    values = yaml.safe_load(copied.params_file.read_text())
    values["cascade"]["blocked_items"] = _all_candidates_but(10, copied)
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(
        InputError, match=r"^user \S+ \(of \d+ such users\) has seen so many of the 10"
    ):
        materialize(copied.workspace, ["submission"], only=True, tags={})
    assert not (copied.data / ".resume" / "submission").exists()


def _all_candidates_but(number, world):
    """Raw ids; those that most users have seen are left."""
    interactions = Interactions.load(world.data / "interactions")
    times = np.bincount(interactions.item_ids, minlength=interactions.num_items + 1)
    candidates = np.asarray(interactions.candidate_item_ids)
    rarest = candidates[times[candidates].argsort(kind="stable")][: len(candidates) - number]
    return interactions.raw_item_ids.take(rarest - 1).to_pylist()
