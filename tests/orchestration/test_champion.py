"""A retraining on the tiny world: the judgement, the submission's model, and the way back."""

import os
import shutil

import pytest

from assets.champion import find_obstacles
from assets.manifest_file import read_manifest
from assets.promotion import JudgedModel
from model.artifact import read_json, write_json
from model.errors import InputError
from orchestration.rollback import roll_back
from tests.orchestration.conftest import World
from tests.orchestration.tiny_world import write_tiny_params


def _retrained(world):
    """The same world with a recommender that is trained for a quarter of the time."""
    training = {"batch_size": 64, "max_validation_users": 50, "epochs": 0.25}
    write_tiny_params(world.params_file, recommender_checkpoint=training)
    done = world.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    assert "codebook: making it" not in done.stderr
    return World(world.params_file, world.data)


def _model_of_submission(world):
    """The judged model that the newest submission was made from."""
    manifest = read_manifest(world.workspace.current_folder("submission"))
    (path,) = [path for path in manifest["artifacts"] if path.startswith("champion/")]
    return path.removeprefix("champion/")


def _recommendations(world):
    folder = world.workspace.current_folder("submission")
    return (folder / "recommendations.parquet").read_bytes()


def test_a_challenger_is_judged_and_the_way_back_is_one_command(copied):
    first = copied.workspace.input_folder("champion").name
    before = _recommendations(copied)
    world = _retrained(copied)
    judged = JudgedModel.load(world.workspace.current_folder("champion"))
    decision = judged.decision
    assert judged.folder.name != first
    assert decision.incumbent_id == first
    assert decision.promoted == (decision.challenger["score"] >= decision.incumbent["ci95"][0])
    assert judged.incumbent_metrics["validation"]["score"] == decision.incumbent["score"]
    assert judged.metrics["validation"]["score"] == decision.challenger["score"]
    assert f"{decision.challenger['score']:.4f}" in decision.reason
    champion = world.workspace.input_folder("champion").name
    assert champion == (judged.folder.name if decision.promoted else first)
    assert _model_of_submission(world) == champion
    shown = world.onepiece("report").stdout
    assert (f"The submission is of the champion, {first}: HR@10" in shown) != decision.promoted
    assert ("falls below" in shown) != decision.promoted
    manifest = read_manifest(world.workspace.current_folder("submission"))
    measured = judged.metrics if decision.promoted else judged.incumbent_metrics
    assert manifest["metrics"] == measured
    assert (manifest["measured_with"], manifest["measured_on"]) == ({}, {})

    if decision.promoted:
        back = world.onepiece("rollback")
        assert back.returncode == 0, back.stderr
        assert f"champion: {champion} -> {first}" in back.stdout
        record = read_json(world.data / "champion" / "rollbacks.json")
        assert [(entry["from"], entry["to"]) for entry in record] == [(champion, first)]
        done = world.onepiece("materialize")
        assert "recommender_checkpoint: making it" not in done.stderr
    assert _model_of_submission(world) == first
    assert _recommendations(world) == before
    assert world.onepiece("verify").returncode == 0
    refused = world.onepiece("rollback")
    assert refused.returncode == 2
    assert "is the first champion" in refused.stderr


@pytest.mark.parametrize("wanted", ["/tmp", "../champion/", "*", "no such"])
def test_a_name_that_begins_no_promoted_model_is_refused(copied, wanted):
    champion = copied.workspace.input_folder("champion")
    with pytest.raises(InputError, match=f"not one promoted model in .* which has {champion.name}"):
        roll_back(copied.workspace, wanted)


def test_a_predecessor_that_was_deleted_is_not_put_back(copied):
    champion = copied.workspace.input_folder("champion")
    decision = read_json(champion / "decision.json") | {"incumbent": {"id": "0123456789ab"}}
    write_json(champion / "decision.json", decision)
    with pytest.raises(InputError, match=r"champion/0123456789ab: .* is missing"):
        roll_back(copied.workspace, None)
    assert copied.workspace.input_folder("champion") == champion


def test_a_damaged_model_does_not_become_champion_again(copied):
    champion = copied.workspace.input_folder("champion")
    earlier = champion.with_name("0123456789ab")
    shutil.copytree(champion, earlier)
    _cut(earlier)
    with pytest.raises(InputError, match=r"ab: .*weights\.safetensors hashes to .*; put it back"):
        roll_back(copied.workspace, earlier.name)
    assert copied.workspace.input_folder("champion") == champion


def _cut(champion):
    os.truncate(champion / "recommender_checkpoint" / "weights.safetensors", 100)


def test_a_champion_without_its_weights_has_to_make_way(copied):
    champion = copied.workspace.input_folder("champion")
    newest = JudgedModel.load(champion).checkpoint
    _cut(champion)
    obstacle, left_as = find_obstacles(copied.workspace, champion, newest)
    assert obstacle.startswith(f"The champion {champion.name} is damaged: ")
    assert left_as is None


def test_a_damaged_champion_makes_way_for_the_newest_model(copied):
    before, champion = _recommendations(copied), copied.workspace.input_folder("champion")
    shutil.rmtree(champion)
    assert copied.onepiece("verify").returncode == 1
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    decision = JudgedModel.load(copied.workspace.current_folder("champion")).decision
    assert decision.promoted
    assert decision.reason.startswith(f"The champion {champion.name} is damaged: ")
    assert decision.incumbent == {"id": champion.name, "score": None, "ci95": None}
    assert copied.onepiece("verify").returncode == 0
    assert _recommendations(copied) == before


def test_a_champion_with_other_validation_targets_is_not_compared(copied, monkeypatch):
    """It has trained on today's, so that its score would be out of any newer model's reach."""
    incumbent = copied.workspace.input_folder("champion")
    newest = JudgedModel.load(incumbent).checkpoint
    assert find_obstacles(copied.workspace, incumbent, newest) == (None, None)
    split = {"strategy": "leave_one_out", "validation_fraction": 0.5}
    write_tiny_params(copied.params_file, interactions={"split": split})
    done = copied.onepiece("materialize", "--only", "interactions")
    assert done.returncode == 0, done.stderr
    changed = World(copied.params_file, copied.data).workspace
    obstacle, left_as = find_obstacles(changed, incumbent, newest)
    assert obstacle.startswith("The seed or interactions.split changed: ")
    assert left_as is None
    # It may still submit, and does after a rollback to it.
    monkeypatch.setattr("assets.champion._left_as", lambda workspace, incumbent: "newer")
    assert find_obstacles(changed, incumbent, newest) == (None, "newer")


def test_a_judgement_that_comes_out_the_same_replaces_a_damaged_one(copied):
    champion = copied.workspace.input_folder("champion")
    _cut(champion)
    (champion.parent / "champion").unlink()  # as if it were the first again
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    assert copied.workspace.input_folder("champion") == champion
    assert copied.onepiece("verify").returncode == 0
