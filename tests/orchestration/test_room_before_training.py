"""What cannot suffice, semantic IDs or held-out targets, is no reason to train first."""

import pytest
import yaml

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
