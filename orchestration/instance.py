"""Dagster's home and instance: made when needed, without telemetry, cleaned of dead runs."""

import logging
import os
from importlib import resources
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.workspace import Workspace
from model.artifact import atomic_write, require_free_space
from orchestration.running import find_released, hold
from orchestration.synchronization import report_existing

logger = logging.getLogger("onepiece")

RECORDS_BYTES = 4 * 2**20  # an empty home and the events of a run
_OF_THIS_PROCESS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
    # Pool slots are for the runs that Dagster starts. Inside `dvc repro` DVC's locks are held
    # already, so that waiting for a slot could deadlock.
    "concurrency": {"pools": {"granularity": "run"}},
}


def prepare_home(workspace: Workspace) -> Path:
    """Make DAGSTER_HOME with our configuration in it."""
    home = workspace.home
    home.mkdir(parents=True, exist_ok=True)
    require_free_space(home, RECORDS_BYTES, what="Dagster")
    wanted = resources.files("orchestration").joinpath("dagster.yaml").read_text()
    file = home / "dagster.yaml"
    if not file.exists() or file.read_text() != wanted:
        atomic_write(file, wanted)
    return home


def open_instance(workspace: Workspace) -> dg.DagsterInstance:
    """The instance for runs of this process: output stays in the terminal, log lines are kept."""
    prepare_home(workspace)
    instance = open_unchanged(workspace)
    close_dead_runs(instance)
    return instance


def open_unchanged(workspace: Workspace) -> dg.DagsterInstance:
    """Open the instance of an existing home without changing its configuration or runs.

    Sets DAGSTER_HOME in the environment, where Dagster and our own messages look for it.
    """
    os.environ["DAGSTER_HOME"] = str(workspace.home)
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(workspace.home), overrides=_OF_THIS_PROCESS)
    )


def in_run_worker(workspace: Workspace) -> dg.ResourceDefinition:
    """The workspace for runs that Dagster starts in a process of their own, which holds their lock.

    Reports what DVC has restored first, since a run records the versions known of its inputs.
    """

    def note(context: dg.InitResourceContext) -> Workspace:
        if context.run is not None and context.instance is not None:
            hold(Path(context.instance.root_directory), context.run.run_id)
            close_dead_runs(context.instance)
            report_existing(context.instance, workspace)
        return workspace

    return dg.ResourceDefinition(note, config_schema={})  # without one, any config is accepted


def close_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs whose process was killed as failed and free slots of finished runs.

    A run that has no lock is left alone: it is about to begin, or an earlier version started it.
    """
    for run_id in find_released(Path(instance.root_directory)):
        run = instance.get_run_by_id(run_id)  # only now: it may just have ended
        if run is not None and not run.is_finished:
            logger.warning("run %s: its process was killed; closing it", run_id[:8])
            instance.report_run_failed(run, "Its process was killed.")
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)
