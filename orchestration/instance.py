"""Dagster's home and instance: made when needed, without telemetry, cleaned of dead runs."""

import logging
import os
from importlib import resources
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.workspace import Workspace
from model.artifact import atomic_write

logger = logging.getLogger("onepiece")

PROCESS_TAG = "onepiece/process"
_QUIET = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def prepare_home(workspace: Workspace) -> Path:
    """Make DAGSTER_HOME with our configuration in it, and name it in the environment."""
    home = workspace.home
    home.mkdir(parents=True, exist_ok=True)
    wanted = resources.files("orchestration").joinpath("dagster.yaml").read_text()
    file = home / "dagster.yaml"
    if not file.exists() or file.read_text() != wanted:
        atomic_write(file, wanted)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def open_instance(workspace: Workspace) -> dg.DagsterInstance:
    """The instance for runs of this process: output stays in the terminal, log lines are kept."""
    home = prepare_home(workspace)
    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_QUIET))
    close_dead_runs(instance)
    return instance


def process_tag() -> str:
    """This process, so that another can see whether it still lives."""
    return f"{os.getpid()} {_started(os.getpid())}"


def close_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs whose process was killed as failed and give back what they held."""
    open_runs = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(open_runs):
        tag = run.tags.get(PROCESS_TAG)
        if tag is None:
            continue
        pid, started = tag.split()
        if _started(int(pid)) == started:
            continue
        logger.warning("run %s: its process %s was killed; closing it", run.run_id[:8], pid)
        instance.report_run_failed(run, "Its process was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _started(pid: int) -> str:
    """When a process started, in kernel ticks: together with the number it is unique."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return "dead"
