"""The one Definitions: what `dagster dev` and `onepiece ui` load."""

import dagster as dg

from assets.workspace import Workspace
from orchestration.graph import load_assets
from orchestration.workspace import workspace_from_environment


def build_definitions(workspace: Workspace) -> dg.Definitions:
    """Everything, bound to one workspace."""
    return dg.Definitions(
        assets=load_assets(workspace, workspace.stages),
        resources={"workspace": workspace},
    )


defs = build_definitions(workspace_from_environment())
