"""What a rollback means for later runs: how long it holds, and past which champions it goes."""

import shutil

import pytest
from safetensors.torch import load_file

from assets.lineage import Lineage
from assets.promotion import JudgedModel
from model.artifact import read_json, write_json
from model.errors import InputError
from model.network.checkpoint import save_tensors
from orchestration.rollback import roll_back
from tests.orchestration.conftest import World
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture
def two_models(copied):
    """A finished world whose champion followed another model; gives the names of both."""
    newest = copied.workspace.input_folder("champion")
    earlier = newest.with_name("0123456789ab")
    _measured_anew(copied, newest, earlier, incumbent=None)
    weights = load_file(str(earlier / "recommender_checkpoint" / "weights.safetensors"))
    scaled = {name: tensor * 1.125 for name, tensor in weights.items()}
    save_tensors(scaled, earlier / "recommender_checkpoint" / "weights.safetensors")
    _describe(copied, earlier / "recommender_checkpoint")
    _describe(copied, earlier)
    _follows(copied, newest, earlier.name)
    return earlier.name, newest.name


def _measured_anew(world, model, target, *, incumbent):
    """The same model, judged once more."""
    shutil.copytree(model, target)
    _follows(world, target, incumbent)


def _follows(world, model, incumbent):
    followed = None if incumbent is None else {"id": incumbent, "score": 0.1, "ci95": [0.1, 0.1]}
    decision = read_json(model / "decision.json") | {"incumbent": followed}
    write_json(model / "decision.json", decision)
    _describe(world, model)


def _describe(world, folder):
    Lineage.of(Lineage.read(folder).recipe, folder, world.workspace.hashes).write(folder)


def _champion(world):
    return world.workspace.input_folder("champion")


def _measure_anew(world, **cascade):
    """Other parameters of the cascade, under which every model is measured anew."""
    write_tiny_params(world.params_file, cascade=cascade)
    done = world.onepiece("materialize")
    assert "recommender_checkpoint: making it" not in done.stderr
    return World(world.params_file, world.data), done


def test_a_rollback_holds_until_the_model_is_named(copied, two_models):
    earlier, newest = two_models
    assert f"champion: {newest} -> {earlier};" in roll_back(copied.workspace, None)
    world, done = _measure_anew(copied, num_sids=24)
    assert done.returncode == 0, done.stderr
    assert _champion(world).name == earlier
    judged = JudgedModel.load(world.workspace.current_folder("champion"))
    assert not judged.decision.promoted
    assert judged.decision.reason.startswith(f"Its weights and codebook are those of {newest}")
    assert f"champion: the newest model is not promoted. {judged.decision.reason}" in done.stderr
    assert f"which does not submit: {judged.decision.reason}" in world.onepiece("report").stdout
    assert world.onepiece("verify").returncode == 0

    assert f"champion: {earlier} -> {newest};" in roll_back(world.workspace, newest)
    world, done = _measure_anew(world, num_sids=16)
    assert "champion: the newest model is promoted. Its validation score" in done.stderr
    assert _champion(world).name not in two_models
    said = roll_back(world.workspace, None)  # past itself, as it was measured before
    assert f"{earlier}, past 1 of the same weights and codebook;" in said


def test_where_neither_model_may_submit_a_person_says_which(copied, two_models):
    earlier, newest = two_models
    roll_back(copied.workspace, None)
    shutil.rmtree(_champion(copied))
    world, done = _measure_anew(copied, num_sids=24)
    assert done.returncode == 2
    assert f"champion/{earlier}: cannot go on (" in done.stderr
    assert f"the newest model was rolled away from as {newest}; put" in done.stderr
    roll_back(world.workspace, newest)
    assert _champion(world).name == newest


def test_champions_of_the_same_model_are_passed_over(copied, two_models):
    earlier, newest = two_models
    _measured_anew(
        copied, _champion(copied), _champion(copied).with_name("again"), incumbent=newest
    )
    roll_back(copied.workspace, "again")
    assert f"champion: again -> {earlier}, past 1 of" in roll_back(copied.workspace, None)


def test_a_model_that_followed_none_but_itself_has_nowhere_to_go_back_to(copied):
    newest = _champion(copied)
    _measured_anew(copied, newest, newest.with_name("again"), incumbent=newest.name)
    roll_back(copied.workspace, "again")
    with pytest.raises(InputError, match="all champions before again have its weights"):
        roll_back(copied.workspace, None)
    assert _champion(copied).name == "again"


def test_a_model_of_other_items_is_not_gone_back_to(copied, two_models):
    earlier, newest = two_models
    checkpoint = copied.data / "champion" / earlier / "recommender_checkpoint"
    facts = read_json(checkpoint / "checkpoint.json")
    facts["schema"]["vocabulary_hash"] = "of a catalogue that lacks an item"
    write_json(checkpoint / "checkpoint.json", facts)
    _describe(copied, checkpoint)
    _describe(copied, checkpoint.parent)
    for wanted in (None, earlier):
        with pytest.raises(InputError, match=rf"{earlier}: trained on other .* or keep {newest}$"):
            roll_back(copied.workspace, wanted)
    assert _champion(copied).name == newest
    assert not (copied.data / "champion" / "rollbacks.json").exists()
    shutil.rmtree(copied.data / "interactions")  # the next run makes it, of whatever items
    assert f"champion: {newest} -> {earlier};" in roll_back(copied.workspace, None)
