"""What a worker in another process tells, and what becomes of it."""

import logging
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from assets.lineage import Lineage, Recipe
from assets.maker import maker_of
from assets.peak_memory import peak_memory_bytes, reset_peak_memory
from assets.training_worker import (
    frozen_parameters,
    publish_training,
    run_training,
    stream,
    tell,
)
from assets.transient import WorkerOutOfMemoryError
from assets.tuning.processes import run_workers
from model.errors import REFUSED, InputError
from model.params import Params
from model.progress import IN_BAR
from orchestration.workspace import ROOT, open_workspace
from tests.orchestration.tiny_world import tiny_params, write_tiny_params

HERE = Path.cwd()
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "params").iterdir())]


def _run(code, shown):
    stream(["-c", code], cwd=HERE, show=shown.append)


def test_its_lines_are_passed_on():
    shown: list[str] = []
    _run("print('one'); print('two')", shown)
    assert shown == ["one", "two"]


@pytest.mark.parametrize("in_terminal", [True, False])
def test_what_its_bar_shows_is_for_the_log_alone(caplog, monkeypatch, in_terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: in_terminal)
    with caplog.at_level(logging.INFO):
        tell("encoder: step 1,200 of 5,000 (2.0 steps/s, 100 tokens/s, 7 s left): infonce 1.2")
        tell("encoder: validation after step 1,200: ndcg@10 0.1")
    assert [getattr(record, IN_BAR) for record in caplog.records] == [in_terminal, False]


@pytest.mark.parametrize("exit_code", [1, 2])
def test_a_refusal_is_its_sentence_whatever_a_launcher_prints_after_it(exit_code):
    code = f"print('{REFUSED}a.parquet: no rows'); print('ERROR: rank 0 failed'); exit({exit_code})"
    with pytest.raises(InputError, match=r"^a\.parquet: no rows$"):
        _run(code, [])


def test_any_other_end_is_a_failure_with_its_last_line():
    with pytest.raises(RuntimeError, match="exit code 3: the end"):
        _run("print('the end'); exit(3)", [])


def test_a_full_device_may_be_free_in_a_moment():
    with pytest.raises(WorkerOutOfMemoryError, match="out of memory on its device: tried 2 GiB"):
        _run("print('torch.OutOfMemoryError: CUDA'); print('tried 2 GiB'); exit(1)", [])


def test_a_killed_worker_is_one_sentence_as_the_system_kills_what_takes_too_much_memory():
    code = "import os; print('step 3 of 9', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(InputError, match=r"was killed \(step 3 of 9\).*smaller batch_size"):
        _run(code, [])


@pytest.mark.parametrize("asked", ["import torch; torch.empty", "import numpy; numpy.empty"])
def test_more_memory_than_there_is_is_one_sentence(asked):
    with pytest.raises(InputError, match=r"memory than there is \(.*00000000000.*smaller tables"):
        _run(f"{asked}(10**15)", [])


@pytest.mark.parametrize(
    ("work", "kind", "sentence"),
    [
        ("torch.empty(10**15)", InputError, r"memory than there is \(.*smaller tables"),
        ("exec('raise torch.OutOfMemoryError(7)')", WorkerOutOfMemoryError, "its device: .*: 7$"),
        ("exec('raise OSError(7)')", RuntimeError, "exit code 1: OSError: 7$"),
    ],
)
def test_in_a_terminal_too_it_is_known_what_a_training_failed_of(
    monkeypatch, capfd, work, kind, sentence
):
    """Where the worker's standard error is the terminal's; and nobody is told twice."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code = "import sys, torch; from model.training.worker import run_worker; "
    shown: list[str] = []
    with pytest.raises(kind, match=sentence):
        _run(f"{code}sys.exit(run_worker(lambda world, interrupted: {work}))", shown)
    assert [line.startswith("Traceback") for line in shown].count(True) == 1
    assert capfd.readouterr().err == ""


def test_its_memory_is_counted():
    reset_peak_memory()
    before = peak_memory_bytes()
    _run(f"print(len(bytes(1) * {before}))", [])
    assert peak_memory_bytes() > before


@pytest.fixture
def edited(tmp_path):
    """A workspace whose parameter file was edited after it had been read."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    workspace = open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")
    workspace = replace(workspace, root=tmp_path)
    for path in workspace.stages["encoder_checkpoint"].code:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    write_tiny_params(workspace.params_file, encoder_checkpoint={"epochs": 77})
    return workspace


def test_it_trains_by_the_parameters_that_the_run_has_read(edited, monkeypatch):
    told = []

    def note(arguments, **options):
        told.append(Params.load(Path(arguments[arguments.index("--params") + 1])))

    monkeypatch.setattr("assets.training_worker.stream", note)
    monkeypatch.setattr("assets.tuning.processes.stream", note)
    run_training(edited, "encoder_checkpoint", edited.data / "out")
    run_workers(edited, 2)
    assert told == [edited.params] * 2
    assert edited.params.encoder_checkpoint.epochs != 77


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_written_for_workers_a_parameter_file_says_the_same(file, tmp_path):
    workspace = open_workspace(file, tmp_path)
    with frozen_parameters(workspace) as written:
        assert Params.load(written) == workspace.params


@pytest.mark.parametrize("partition", [None, "joint_l1_d16_e0_f100_s0"])
def test_the_state_is_forgotten_when_what_was_trained_stands(edited, monkeypatch, partition):
    asset = "scaling_points" if partition else "encoder_checkpoint"
    staging, state = edited.staging(asset, partition), edited.data / ".resume"
    staging.mkdir(parents=True)
    Lineage(Recipe(asset, partition, {}, {}, "", 0), "", {}).write(staging)
    (state / (partition or asset) / "step-3").mkdir(parents=True)
    (state / "another" / "step-3").mkdir(parents=True)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("assets.training_worker.publish_folder", killed)
        publish_training(edited, staging, "run")
    assert (state / (partition or asset) / "step-3").exists()
    publish_training(edited, staging, "run")
    assert Lineage.read(edited.folder(asset, partition)).recipe.asset == asset
    assert [path.name for path in state.iterdir()] == ["another"]


def test_code_that_was_edited_since_is_refused(edited, monkeypatch):
    monkeypatch.setattr("assets.training_worker.stream", lambda *arguments, **options: None)
    run_training(edited, "encoder_checkpoint", edited.data / "out")
    (edited.root / "model" / "training").write_text("more = 1")
    with pytest.raises(InputError, match="encoder_checkpoint: its code was edited"):
        run_training(edited, "encoder_checkpoint", edited.data / "out")


def test_a_recommender_without_a_decoder_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    trained = "assets.recommender_checkpoint.run_training"
    monkeypatch.setattr(trained, lambda *given: pytest.fail("it was trained"))
    file = tmp_path / "params.yaml"
    loss = tiny_params()["recommender_checkpoint"]["loss"] | {"sid_weights": []}
    write_tiny_params(file, recommender_checkpoint={"loss": loss})
    workspace = open_workspace(file, tmp_path / "data")
    with pytest.raises(InputError, match=r"recommender_checkpoint\.loss\.sid_weights is \[\]"):
        maker_of("recommender_checkpoint").make(workspace, None, tmp_path / "out")


def test_no_child_survives(tmp_path):
    """The worker's own children are ended with it, even those that no signal to it reaches."""
    file = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "child = subprocess.Popen(sleep, start_new_session=True)\n"
        f"pathlib.Path({str(file)!r}).write_text(str(child.pid))\n"
        "print('up', flush=True)\n"
        "child.wait()\n"
    )
    _cancel(code)
    deadline = time.monotonic() + 20
    while _runs(int(file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(file.read_text()))


def test_it_can_be_ended_where_its_parent_cannot():
    known, shown = signal.signal(signal.SIGTERM, signal.SIG_IGN), []
    try:
        _run("import signal; print(signal.getsignal(signal.SIGTERM).name)", shown)
    finally:
        signal.signal(signal.SIGTERM, known)
    assert shown == ["SIG_DFL"]


def test_a_launcher_has_the_time_to_end_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("assets.training_worker.STOP_SECONDS", 0.1)
    code = (
        "import pathlib, signal, subprocess, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(1)\n"
        f"    pathlib.Path({str(tmp_path / 'ended')!r}).touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    _cancel(code)
    assert (tmp_path / "ended").exists()


def _cancel(code: str) -> None:
    """Run it up to its first line."""

    class CancelledError(Exception):
        pass

    def cancel(line: str) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        stream(["-c", code], cwd=HERE, show=cancel)


def _runs(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
