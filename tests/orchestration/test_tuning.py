"""The study on the tiny world: killed and taken up, several at once, with codebooks of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from assets.lineage import Lineage
from assets.tuning import trial as trial_module
from assets.tuning.shared_study import JOURNAL
from assets.tuning.study import read_study
from assets.tuning.task import StudyTask, home_of
from assets.tuning.worker import Worker
from model.artifact import read_json
from model.params import Params
from model.training.distributed import World as Ranks
from orchestration.trial_times import trial_seconds
from orchestration.workspace import ROOT, open_workspace
from tests.orchestration.command import ENVIRONMENT, run
from tests.orchestration.conftest import World
from tests.orchestration.tiny_world import write_tiny_params

ALONE = Ranks(0, 1, torch.device("cpu"))
SPACE = {
    "optimizer.muon_lr": {"kind": "float", "low": 0.001, "high": 0.1, "log": True},
    "network.history_skip": {"kind": "int", "low": 0, "high": 6, "log": False},
}
SETTINGS = {
    "num_trials": 5,
    "epochs": 1,
    "validate_every_epochs": 0.25,
    "startup_trials": 2,
    "pruner": {
        "kind": "percentile",
        "percentile": 50,
        "startup_trials": 2,
        "warmup_validations": 1,
    },
    "space": SPACE,
}


@pytest.fixture
def world(finished, tmp_path):
    """The finished world's artefacts, shared, with room for studies of one's own."""
    for folder in finished.data.iterdir():
        if not folder.name.startswith("."):
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / folder.name).symlink_to(folder)
    return lambda **changes: World(_write(tmp_path / "params.yaml", **changes), tmp_path / "data")


def _write(file, **changes):
    return write_tiny_params(file, tuning_study=SETTINGS | changes)


def _work(world, interrupted=lambda: False):
    Worker(world.workspace, ALONE, interrupted).lead()
    return read_study(world.workspace).trials


def _start(world, **options):
    where = ["--params", str(world.params_file), "--data", str(world.data)]
    command = [sys.executable, "-m", "assets.tuning.worker", *where]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, **options
    )


def _lines_until(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}")


@pytest.mark.long
def test_a_study_that_was_killed_ends_with_the_trials_of_one_that_was_not(world, tmp_path):
    unbroken = _work(world())
    assert [trial["number"] for trial in unbroken] == [0, 1, 2, 3, 4]
    assert {trial["state"] for trial in unbroken} >= {"complete"}
    shutil.rmtree(home_of(world().workspace))
    process = _start(world())
    _lines_until(process, "trial 2:")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_study(world().workspace).trials == unbroken[:2]
    assert _work(world()) == unbroken


def test_the_time_of_trials_is_known_that_no_run_computed(world):
    begun = time.monotonic()
    _work(world(num_trials=2))
    wall_seconds = time.monotonic() - begun
    workspace = world(num_trials=2).workspace
    assert trial_seconds(workspace) == []  # nothing stands yet that was made of them
    read_study(workspace).save(workspace.folder("tuning_study"))
    seconds = trial_seconds(workspace)
    assert len(seconds) == 2
    assert all(one > 0 for one in seconds)
    assert sum(seconds) < wall_seconds
    (home_of(workspace) / JOURNAL).unlink()
    assert trial_seconds(workspace) == []
    _work(world(num_trials=1, epochs=2))  # another study
    assert trial_seconds(workspace) == []


@pytest.mark.parametrize("steps", [2, 5])
def test_a_trial_that_was_stopped_goes_on_from_its_state(world, caplog, steps):
    unbroken = _work(world(num_trials=1))
    shutil.rmtree(home_of(world().workspace))
    asked = iter([False] * steps)  # once before the trial, then after each of its five steps
    with pytest.raises(trial_module.TrialInterruptedError):
        _work(world(num_trials=1), lambda: next(asked, True))
    with caplog.at_level("INFO", "onepiece"):
        assert _work(world(num_trials=1)) == unbroken
    assert "trial 0: resuming from step" in caplog.text


def test_several_processes_share_one_study(world):
    settings = world(num_trials=7, pruner=SETTINGS["pruner"] | {"kind": "none"})
    processes = [_start(settings), _start(settings)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trials = read_study(settings.workspace).trials
    assert [trial["number"] for trial in trials] == list(range(7))
    assert len({str(trial["parameters"]) for trial in trials}) == 7
    assert all("ndcg@10" in output for output in outputs)  # both had a part in it


def test_each_trial_has_its_lineage(world, finished):
    (trial,) = _work(world(num_trials=1))
    lineage = trial["lineage"]
    interactions = Lineage.read(finished.data / "interactions")
    recorded = finished.workspace.recipe("encoder_checkpoint").parents["interactions"]
    assert lineage["parents"]["interactions"] == recorded
    assert interactions.content
    assert lineage["code"] == finished.workspace.stages["tuning_study"].code_hash(ROOT)
    assert lineage["seed"] == 42
    assert set(trial["parameters"]) == set(SPACE)
    assert "muon_lr" not in lineage["params"]["optimizer"]  # it is the trial's own
    assert lineage["params"]["optimizer"]["adamw_lr"] == 0.004


def test_another_task_is_another_study(world):
    name = StudyTask.of(world().workspace).name
    assert StudyTask.of(world(num_trials=50, num_processes=3).workspace).name == name
    assert StudyTask.of(world(epochs=2).workspace).name != name
    assert StudyTask.of(world(seed=1).workspace).name != name


RECOMMENDER = {"training": "recommender_checkpoint", "num_trials": 2}


def test_trials_that_do_not_touch_the_tokenizer_read_the_published_codebook(world, monkeypatch):
    def build(*given):
        raise AssertionError("the tokenizer was run")

    monkeypatch.setattr(trial_module, "build_codebook", build)
    space = {"optimizer.muon_lr": SPACE["optimizer.muon_lr"]}
    trials = _work(world(**RECOMMENDER, space=space))
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    assert "codebook" in trials[0]["lineage"]["parents"]
    assert "fused_embeddings" not in trials[0]["lineage"]["parents"]


def test_trials_that_touch_it_make_a_codebook_of_their_own(world, finished):
    before = Lineage.read(finished.data / "codebook")
    sizes = {"kind": "categorical", "choices": [[24, 24], [40, 40]]}
    trials = _work(world(**RECOMMENDER, space={"codebook.sizes": sizes}))
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    assert trials[0]["facts"]["codebook"]["conflict_rate"]["after"] == 0.0
    assert trials[0]["parameters"]["codebook.sizes"] in sizes["choices"]
    assert "fused_embeddings" in trials[0]["lineage"]["parents"]
    assert Lineage.read(finished.data / "codebook") == before
    assert not list(home_of(world().workspace).glob("trials/*/*"))  # nothing is left behind


def test_values_that_do_not_go_together_end_the_trial_and_not_the_study(world):
    heads = {"kind": "categorical", "choices": [2, 3]}  # the network is 16 wide
    trials = _work(world(num_trials=4, space={"network.num_heads": heads}))
    reasons = {str(trial["parameters"]["network.num_heads"]): trial["reason"] for trial in trials}
    assert "not a multiple of num_heads 3" in reasons.get("3", "not a multiple of num_heads 3")
    assert reasons.get("2") is None


@pytest.mark.long
def test_two_processes_train_one_trial_together(world):
    settings = world(num_trials=2)
    where = ["--params", settings.params_file, "--data", settings.data]
    module = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    done = run(sys.executable, "-m", *module, "assets.tuning.worker", *where, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = read_study(settings.workspace).trials
    assert [trial["number"] for trial in trials] == [0, 1]


@pytest.mark.long
def test_from_the_command_line(world, tmp_path):
    settings = world(num_trials=3)
    refused = settings.onepiece("adopt")
    assert refused.returncode == 2
    folder = settings.data / "tuning_study"
    where = f"--params {settings.params_file} --data {settings.data}"
    assert refused.stderr == (
        f"onepiece: {folder}: no trial is finished; run `onepiece tune {where}` first\n"
    )
    done = settings.onepiece("tune", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "of 3 is the best" in done.stdout
    best = read_json(settings.data / "tuning_study" / "summary.json")["best"]
    again = settings.onepiece("materialize", "tuning_study")
    assert "tuning_study: up to date" in again.stderr
    adopted = settings.onepiece("adopt", "--into", tmp_path / "adopted.yaml")
    assert adopted.returncode == 0, adopted.stderr
    before = yaml.safe_load(settings.params_file.read_text())
    after = Params.load(tmp_path / "adopted.yaml")
    assert after.optimizer.muon_lr == best["parameters"]["optimizer.muon_lr"]
    assert after.network.history_skip == best["parameters"]["network.history_skip"]
    assert after.optimizer.adamw_lr == before["optimizer"]["adamw_lr"]


def test_nobody_runs_it_who_did_not_ask(finished):
    assert not (finished.data / "tuning_study").exists()  # after a bare `onepiece materialize`
    workspace = open_workspace(ROOT / "params.yaml", finished.data)
    assert "tuning_study" not in workspace.main_line
    assert os.fspath(home_of(workspace)).endswith(".resume/tuning_study")
