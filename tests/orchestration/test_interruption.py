"""A run that is killed: nothing half-written is taken for whole, and the same command finishes."""

import shutil
import signal

from assets.lineage import Lineage
from orchestration.verification import verify
from tests.orchestration.conftest import World
from tests.orchestration.interrupted import BEGUN, PUBLISHED, TRAINING, WHOLE, materialize

TRAINED = ("encoder_checkpoint", "recommender_checkpoint")


def _targets(world):
    stages = [world.workspace.stages[name] for name in world.workspace.main_line]
    return [stage.target(key) for stage in stages for key in world.workspace.partitions(stage)]


def _deaths(targets):
    """Each target is killed at one of three moments, in turn; a training in its middle as well."""
    for number, target in enumerate(targets):
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


def test_killed_in_every_stage_in_turn_a_world_is_the_same_in_the_end(finished, tmp_path):
    shutil.copy(finished.params_file, tmp_path / "params.yaml")
    world = World(tmp_path / "params.yaml", tmp_path / "data")
    log = tmp_path / "log"
    for death in _deaths(_targets(world)):
        code = materialize(world.params_file, world.data, log, death)
        assert code == -signal.SIGKILL, (death, log.read_text()[-2000:])
    assert materialize(world.params_file, world.data, log, None) == 0, log.read_text()[-2000:]

    lines = log.read_text()
    for name in TRAINED:
        assert lines.count(f"{name}: resuming from step") == 2  # again, when all but published
        assert not (world.data / ".resume" / name).exists()
    assert lines.count("was killed; closing it") == len(list(_deaths(_targets(world))))
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
