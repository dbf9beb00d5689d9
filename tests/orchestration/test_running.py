"""A run is taken for dead when its process is, in whichever container each of them runs."""

import shutil
import subprocess
import sys

import dagster as dg
import psutil
import pytest
from dagster._core.utils import make_new_run_id

from orchestration.instance import close_dead_runs, in_run_worker, open_instance
from orchestration.running import find_released, hold, running
from orchestration.workspace import ROOT, open_workspace
from tests.orchestration.command import ENVIRONMENT, run
from tests.orchestration.tiny_world import write_tiny_params

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")  # our processes cannot be seen in it
FORKING = """
import os, sys, time
from pathlib import Path
from orchestration.running import hold
hold(Path(sys.argv[1]), "a run")
if os.fork() == 0:
    os._exit(0)
os.wait()
if os.fork() == 0:
    print(os.getpid(), flush=True)  # by now it has closed its copy
time.sleep(600)
"""


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")


@pytest.fixture
def instance(workspace):
    with open_instance(workspace) as instance:
        yield instance


def _begin(instance, status=STARTED):
    run_id = make_new_run_id()
    instance.add_run(dg.DagsterRun("a job", run_id, status=status))
    return run_id


def _status(instance, run_id):
    return instance.get_run_by_id(run_id).status


def _files(workspace):
    return [file.name for file in (workspace.home / "running").glob("*")]


def _look_from_another_container(workspace):
    command = (sys.executable, "-m", "orchestration", "sync")
    where = ("--params", workspace.params_file, "--data", workspace.data)
    done = run(*CONTAINER, *command, *where, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(
    not shutil.which("unshare") or run(*CONTAINER, "true", cwd=ROOT).returncode != 0,
    reason="only root may begin a process namespace",
)
def test_a_run_is_judged_alike_from_another_container(workspace, instance):
    run_id = _begin(instance)
    with hold(workspace.home, run_id):
        assert "closing it" not in _look_from_another_container(workspace)
        assert _status(instance, run_id) == STARTED
    assert "was killed; closing it" in _look_from_another_container(workspace)
    assert _status(instance, run_id) == FAILED
    assert _files(workspace) == []


def test_a_forked_child_neither_releases_the_lock_nor_keeps_it(tmp_path):
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = psutil.Process(int(holder.stdout.readline()))
    try:
        assert list(find_released(tmp_path)) == []
        holder.kill()
        holder.wait()
        assert list(find_released(tmp_path)) == ["a run"]
        assert child.is_running()
    finally:
        child.kill()


def test_a_run_that_is_about_to_begin_is_left_alone(instance):
    """A re-execution as well, which inherits everything else from a run that may be dead."""
    run_id = _begin(instance, dg.DagsterRunStatus.STARTING)
    close_dead_runs(instance)
    assert _status(instance, run_id) == dg.DagsterRunStatus.STARTING


def test_a_run_that_has_ended_is_not_said_to_be_killed(workspace, instance):
    run_id = _begin(instance, dg.DagsterRunStatus.SUCCESS)
    hold(workspace.home, run_id).close()
    close_dead_runs(instance)
    assert _status(instance, run_id) == dg.DagsterRunStatus.SUCCESS
    assert _files(workspace) == []


def test_an_error_outside_of_dagster_leaves_the_run_to_the_next_command(workspace, instance):
    with running(workspace.home, _begin(instance)):
        assert len(_files(workspace)) == 1
    assert _files(workspace) == []
    run_id = _begin(instance)
    with pytest.raises(KeyboardInterrupt), running(workspace.home, run_id):
        raise KeyboardInterrupt
    close_dead_runs(instance)
    assert _status(instance, run_id) == FAILED


def test_a_run_of_dagsters_own_holds_its_lock(workspace, instance):
    killed = _begin(instance)
    hold(workspace.home, killed).close()

    @dg.asset(required_resource_keys={"workspace"})
    def looks(context: dg.AssetExecutionContext) -> None:
        assert _files(workspace) == [context.run_id]
        close_dead_runs(instance)
        assert _status(instance, context.run_id) == STARTED

    dg.materialize([looks], instance=instance, resources={"workspace": in_run_worker(workspace)})
    assert _status(instance, killed) == FAILED
