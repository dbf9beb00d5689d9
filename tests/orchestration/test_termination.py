"""A run that is ended in the user interface lets go of everything, and another one goes on."""

import shutil
import subprocess
import sys

import psutil
import pytest

from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT
from tests.orchestration.opened_ui import OpenedUI, wait_until
from tests.orchestration.tiny_world import write_tiny_params

EPOCHS = 40
GONE_SECONDS, EXIT_SECONDS = 10.0, 30.0  # the interpreter's own end, on a busy machine
TRAINED = "recommender_checkpoint"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("opened")


@pytest.fixture(scope="module")
def opened(finished, folder):
    """The finished world but for its recommender, whose training now takes a while."""
    long_training = {"epochs": EPOCHS, "checkpoint_minutes": 0.02}
    params = write_tiny_params(folder / "params.yaml", recommender_checkpoint=long_training)
    shutil.copytree(finished.data, folder / "data", ignore=shutil.ignore_patterns(".dagster"))
    where = ("--params", params, "--data", folder / "data")
    opened = OpenedUI(ROOT, *where, log=folder / "ui.log")
    yield opened
    opened.close()


def _launch(opened):
    return opened.launch("__ASSET_JOB", (TRAINED,))


def _trainings(opened):
    return opened.children("model.training", TRAINED)


@pytest.mark.long
def test_a_terminated_run_lets_go_and_another_goes_on_from_its_state(opened, folder):
    run = _launch(opened)
    state = folder / "data" / ".resume" / TRAINED
    wait_until(lambda: any(state.glob("*")), 240, "the training has kept a state")
    training = _trainings(opened)
    worker = opened.children("multiprocessing.spawn", "spawn_main")
    assert training
    assert worker

    opened.terminate(run)
    _, left = psutil.wait_procs(training, timeout=GONE_SECONDS)
    assert not left
    _, left = psutil.wait_procs(worker, timeout=EXIT_SECONDS)
    assert not left
    assert not opened.pool()["claimedSlots"]
    assert opened.wait(run, 30) == "CANCELED"

    again = _launch(opened)
    assert opened.wait(again, 900) == "SUCCESS"  # two hundred steps, on a busy machine
    assert any("resuming from step" in line for line in opened.log(again))


@pytest.mark.long
def test_two_daemons_with_the_same_to_do_train_once(opened, folder):
    """Every run that either of them starts finds what the first has made."""
    (folder / "params.yaml").write_text(
        (folder / "params.yaml").read_text().replace(f"epochs: {EPOCHS}", "epochs: 1")
    )
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "orchestration.definitions"]
    environment = {**ENVIRONMENT, "DAGSTER_HOME": str(folder / "data" / ".dagster")}
    environment |= {"ONEPIECE_PARAMS": str(folder / "params.yaml")}
    environment |= {"ONEPIECE_DATA": str(folder / "data")}
    with (folder / "second.log").open("w") as log:
        second = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        runs = [_launch(opened) for _ in range(3)]
        assert [opened.wait(run) for run in runs] == ["SUCCESS"] * 3
    finally:
        second.terminate()
        second.wait(60)
    lines = [line for run in runs for line in opened.log(run)]
    assert sum(f"{TRAINED}: making it" in line for line in lines) == 1
    assert sum(f"{TRAINED}: unchanged, reused" in line for line in lines) == 2
