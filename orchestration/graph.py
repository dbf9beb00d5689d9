"""All assets, bound to one workspace: code versions from ``dvc.yaml``, partitions from params."""

import importlib
from collections.abc import Sequence

import dagster as dg

from assets.workspace import Workspace

LIGHT = ("item_statistics", "coverage_report")  # no training, no device: made without being asked


def load_assets(
    workspace: Workspace, names: Sequence[str]
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Import the assets of these names, each from the module of its name, and bind them.

    Importing only what is asked for keeps torch and faiss out of stages that do not need them.
    Assets upstream of them are declared without being imported.
    """

    def bind(spec: dg.AssetSpec) -> dg.AssetSpec:
        stage = workspace.stages[spec.key.to_user_string()]
        version = stage.version(workspace.root, workspace.values)
        bound = spec.replace_attributes(code_version=version)
        if stage.name in LIGHT:
            eager = dg.AutomationCondition.eager()
            bound = bound.replace_attributes(automation_condition=eager)
        if not stage.partitioned:
            return bound
        keys = dg.StaticPartitionsDefinition(stage.partitions(workspace.values))
        return bound.replace_attributes(partitions_def=keys)

    found = [getattr(importlib.import_module(f"assets.{name}"), name) for name in names]
    upstream = {name for asset in names for name in workspace.stages[asset].inputs}
    named = [dg.AssetSpec(name) for name in sorted(upstream - set(names))]
    return list(dg.map_asset_specs(bind, [*found, *named]))
