"""Dagster's definitions, which `dagster dev` and `onepiece ui` load."""

import dagster as dg

from assets.workspace import Workspace
from orchestration.automation import (
    build_jobs,
    build_light_automation,
    build_schedule,
    build_sensor,
    build_synchronization,
)
from orchestration.graph import load_assets
from orchestration.instance import in_run_worker
from orchestration.workspace import workspace_from_environment


def build_definitions(workspace: Workspace) -> dg.Definitions:
    """Assets, jobs, schedule and sensors, bound to one workspace."""
    jobs = build_jobs(workspace)
    return dg.Definitions(
        assets=load_assets(workspace, list(workspace.stages)),
        jobs=jobs,
        schedules=[build_schedule(workspace, jobs[0])],
        sensors=[
            build_sensor(workspace, jobs[0]),
            build_light_automation(),
            build_synchronization(workspace),
        ],
        resources={"workspace": in_run_worker(workspace)},
        executor=dg.in_process_executor,  # training has processes of its own; one import is enough
    )


defs = build_definitions(workspace_from_environment())
