"""Made one by one, an artefact may meet a model of other items or of other semantic IDs."""

import numpy as np
import pytest
import yaml

from model.errors import InputError
from model.training.inputs import TrainingInputs
from orchestration.explanation import explain

DATA = ("raw_data", "interactions", "item_statistics", "modality_embeddings")


def test_a_model_of_other_items_answers_for_none(copied):
    values = yaml.safe_load(copied.params_file.read_text())
    values["seed"] += 1  # as many items, under other raw ids
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    done = copied.onepiece("materialize", *DATA, "--only")
    assert done.returncode == 0, done.stderr
    for asset, model in (
        ("fused_embeddings", "encoder_checkpoint"),
        ("recommender_checkpoint", "encoder_checkpoint"),
        ("evaluation_report", "recommender_checkpoint"),
        ("submission", "recommender_checkpoint"),
    ):
        done = copied.onepiece("materialize", asset, "--only")
        assert done.returncode == 2, done.stderr
        assert f"{model}: trained on other items or features" in done.stderr
    with pytest.raises(InputError, match="trained on other items or features"):
        explain(copied.workspace, "user_00000001", "submission")


def test_a_codebook_of_fewer_items_teaches_none(copied):
    file = copied.data / "codebook" / "codes.npy"
    codes = np.load(file)
    np.save(file, codes[:-1])
    params, left = copied.workspace.params, len(codes) - 2
    with pytest.raises(InputError, match=f"codebook: has the semantic IDs of {left} items"):
        TrainingInputs.load(copied.data, params, "recommender_checkpoint")


def test_a_codebook_of_other_levels_teaches_none(copied):
    params = copied.workspace.params
    recommender = params.recommender_checkpoint
    loss = recommender.loss.model_copy(update={"sid_weights": (0.5, 0.5, 0.5)})
    other = params.model_copy(
        update={"recommender_checkpoint": recommender.model_copy(update={"loss": loss})}
    )
    with pytest.raises(InputError, match=r"codebook: has 2 levels and .*sid_weights has 3 entries"):
        TrainingInputs.load(copied.data, other, "recommender_checkpoint")


@pytest.mark.long
def test_a_model_of_another_codebook_proposes_for_none(copied):
    values = yaml.safe_load(copied.params_file.read_text())
    values["codebook"]["initialization"] = "sample"  # as many codes, of other items
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    done = copied.onepiece("materialize", "codebook", "--only")
    assert done.returncode == 0, done.stderr
    for command in (("materialize", "evaluation_report", "--only"), ("quotas",)):
        done = copied.onepiece(*command)
        assert done.returncode == 2, done.stderr
        assert "recommender_checkpoint was trained with another codebook" in done.stderr
