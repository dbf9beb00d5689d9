"""Retraining by the clock, as Dagster's own daemon runs it; no run is really launched."""

import logging
import os
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import (
    create_test_daemon_workspace_context,
    freeze_time,
    load_remote_repo,
)
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)
from dagster._scheduler.scheduler import launch_scheduled_runs

from orchestration.instance import prepare_home
from orchestration.workspace import DATA_VARIABLE, PARAMS_VARIABLE, ROOT, open_workspace
from tests.orchestration.tiny_world import write_tiny_params

LAUNCHES_NOTHING = {
    "run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}
}
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUED, STARTING = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING


class Daemon:
    """What one daemon does when it is told the time."""

    def __init__(self, context):
        self.context, self.instance = context, context.instance
        self._coordinator = QueuedRunCoordinatorDaemon(interval_seconds=1)
        self._times = {}

    def ticks(self, now):
        """Look at all schedules."""
        with freeze_time(now):
            logger = logging.getLogger("daemon")
            list(launch_scheduled_runs(self.context, logger, now, self._times))

    def dequeues(self):
        """Start what may be started."""
        list(self._coordinator.run_iteration(self.context))

    def runs(self):
        """Status by run, oldest first."""
        return [run.status for run in reversed(self.instance.get_runs())]


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    """A workspace's parameters in the environment of Dagster's code server."""
    folder = tmp_path_factory.mktemp("clock")
    automation = {"retrain_cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    params = write_tiny_params(folder / "params.yaml", automation=automation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PARAMS_VARIABLE, str(params))
        patch.setenv(DATA_VARIABLE, str(folder / "data"))
        patch.setenv("DAGSTER_HOME", os.environ.get("DAGSTER_HOME", ""))
        yield open_workspace(params, folder / "data")


@pytest.fixture(scope="module")
def context(location, tmp_path_factory):
    """An instance with our settings, and a code server; both for all tests."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((prepare_home(location) / "dagster.yaml").read_text())
    reference = InstanceRef.from_dir(str(home), overrides=LAUNCHES_NOTHING)
    module = ModuleTarget("orchestration.definitions", None, str(ROOT), "onepiece")
    with (
        dg.DagsterInstance.from_ref(reference) as instance,
        create_test_daemon_workspace_context(module, instance) as context,
    ):
        yield context


@pytest.fixture
def daemon(context):
    """A daemon whose schedule was just switched on."""
    repository = load_remote_repo(context, "__repository__")
    context.instance.wipe()
    context.instance.schedule_storage.wipe()
    with freeze_time(BEGIN):
        context.instance.start_schedule(repository.get_schedule("scheduled_retrain"))
    return Daemon(context)


def test_the_clock_is_that_of_the_time_zone(daemon):
    daemon.ticks(BEGIN + timedelta(hours=13, minutes=59))
    assert daemon.runs() == []
    daemon.ticks(datetime(2026, 3, 2, 2, 0, 1, tzinfo=UTC))  # three in Berlin
    assert daemon.runs() == [QUEUED]
    (run,) = daemon.instance.get_runs()
    assert run.job_name == "full_retrain"


def test_missed_ticks_do_not_pile_up(daemon):
    daemon.ticks(BEGIN + timedelta(days=9))  # the machine was off for nine days
    assert daemon.runs() == [QUEUED]
    daemon.ticks(BEGIN + timedelta(days=10))
    daemon.ticks(BEGIN + timedelta(days=11))  # one waits already
    assert daemon.runs() == [QUEUED]


def test_a_retraining_that_is_due_while_one_runs_waits_for_its_end(daemon):
    daemon.ticks(BEGIN + timedelta(days=1))
    daemon.dequeues()
    assert daemon.runs() == [STARTING]
    daemon.ticks(BEGIN + timedelta(days=2))
    daemon.dequeues()
    assert daemon.runs() == [STARTING, QUEUED]
    running = daemon.instance.get_runs(dg.RunsFilter(statuses=[STARTING]))[0]
    daemon.instance.report_run_failed(running)
    daemon.dequeues()
    assert daemon.runs() == [dg.DagsterRunStatus.FAILURE, STARTING]


def test_two_daemons_ask_once(daemon):
    second = Daemon(daemon.context)
    for days in (1, 2):
        daemon.ticks(BEGIN + timedelta(days=days))
        second.ticks(BEGIN + timedelta(days=days))
        daemon.dequeues()
        second.dequeues()
    assert daemon.runs() == [STARTING, QUEUED]
