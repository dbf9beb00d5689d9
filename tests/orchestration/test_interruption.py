"""A run that is killed: nothing half-written is taken for whole, and the same command finishes."""

import shutil
import signal

import pytest

from assets.lineage import Lineage
from orchestration.verification import verify
from tests.orchestration.conftest import World
from tests.orchestration.interrupted import BEGUN, PUBLISHED, TRAINING, WHOLE, materialize

TRAINED = ("encoder_checkpoint", "recommender_checkpoint")
SOME = (
    ("interactions", BEGUN),
    ("encoder_checkpoint", TRAINING),
    ("recommender_checkpoint", PUBLISHED),
    ("submission", WHOLE),
)


def _targets(world):
    stages = [world.workspace.stages[name] for name in world.workspace.main_line]
    return [stage.target(key) for stage in stages for key in world.workspace.partitions(stage)]


def _all(world):
    """Each target is killed at one of three moments, in turn; a training in its middle as well."""
    for number, target in enumerate(_targets(world)):
        if target in TRAINED:
            yield target, TRAINING
            yield target, WHOLE
            yield target, PUBLISHED
        else:
            yield target, (BEGUN, WHOLE, PUBLISHED)[number % 3]


def _lineages(world):
    files = world.data.glob("*/**/lineage.json")
    return {
        file.parent.relative_to(world.data).as_posix(): Lineage.read(file.parent)
        for file in files
        if not file.is_relative_to(world.data / "champion")
    }


@pytest.mark.parametrize(
    "deaths", [lambda world: SOME, pytest.param(_all, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_killed_in_one_stage_after_another_a_world_is_the_same_in_the_end(
    finished, tmp_path, deaths
):
    shutil.copy(finished.params_file, tmp_path / "params.yaml")
    world = World(tmp_path / "params.yaml", tmp_path / "data")
    log = tmp_path / "log"
    deaths = list(deaths(world))
    for death in deaths:
        code = materialize(world.params_file, world.data, log, death)
        assert code == -signal.SIGKILL, (death, log.read_text()[-2000:])
    assert materialize(world.params_file, world.data, log, None) == 0, log.read_text()[-2000:]

    lines = log.read_text()
    for name in TRAINED:
        begun = [moment for target, moment in deaths if target == name and moment != PUBLISHED]
        assert lines.count(f"{name}: resuming from step") == len(begun)
        assert not (world.data / ".resume" / name).exists()
    assert lines.count("was killed; closing it") == len(deaths)
    assert _lineages(world) == _lineages(finished)
    assert [found for found in verify(world.workspace, None) if found.problem] == []
    assert [path for path in world.data.rglob("*") if ".partial-" in path.name] == []
    assert materialize(world.params_file, world.data, log, None) == 0
    assert log.read_text().endswith("everything: up to date\n")


def test_a_user_who_gives_a_killed_command_again_is_told_of_it(copied, tmp_path):
    shutil.rmtree(copied.data / "submission")
    death = ("submission", BEGUN)
    code = materialize(copied.params_file, copied.data, tmp_path / "log", death)
    assert code == -signal.SIGKILL
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    assert "was killed; closing it" in done.stderr
