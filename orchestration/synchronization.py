"""Reports to Dagster the artefacts on disk that it did not make.

DVC restores artefacts from its cache, pulls them from a remote, or another machine made them. A
materialisation event without a run, with the artefact's own versions, makes the user interface show
it and its checks like a run that found it unchanged.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from assets.lineage import Lineage, Recipe, folder_hash
from assets.maker import Shown, maker_of
from assets.peak_memory import reset_peak_memory
from assets.refusals import NOT_JUDGED
from assets.report_metadata import pages
from assets.stages import recipe_version
from assets.workspace import VERSIONED, Workspace
from model.errors import InputError
from orchestration.targets import Target, parse_targets

logger = logging.getLogger("onepiece")

DATA_VERSION, CODE_VERSION = "dagster/data_version", "dagster/code_version"


def report_existing(
    instance: dg.DagsterInstance, workspace: Workspace, made_by: str = "DVC or another machine"
) -> list[Target]:
    """Report to Dagster every artefact whose version it does not know, upstream first.

    Args:
        instance: to report to.
        workspace: that holds the artefacts.
        made_by: shown on the pages of the artefacts.

    Returns:
        The reported targets.
    """
    told = []
    for target in parse_targets(workspace, _present(workspace)):
        tags = _news(instance, workspace, target)
        if tags is None:
            continue
        shown = _show(workspace, target)
        if _news(instance, workspace, target) != tags:
            continue  # replaced while it was read, or reported by the run that made it
        metadata = {**shown.metadata, "made by": made_by}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                target.asset, partition=target.partition, metadata=metadata, tags=tags
            )
        )
        _report_checks(instance, target, shown.results)
        told.append(target)
    return told


def _present(workspace: Workspace) -> list[str]:
    """All assets but those whose list of partitions is empty."""
    return [name for name, stage in workspace.stages.items() if workspace.partitions(stage)]


def _news(
    instance: dg.DagsterInstance, workspace: Workspace, target: Target
) -> dict[str, str] | None:
    """The tags of an artefact's materialisation; None where there is nothing to report."""
    try:
        folder = workspace.current_folder(target.asset, target.partition)
        recipe = Lineage.read(folder).recipe
        version = workspace.version(target.asset, target.partition)
        if _known(instance, target) == version:
            return None
        return _tags(instance, workspace, target, recipe, version)
    except InputError:  # not there, or damaged
        return None


def _tags(
    instance: dg.DagsterInstance,
    workspace: Workspace,
    target: Target,
    recipe: Recipe,
    version: str,
) -> dict[str, str]:
    tags = {
        DATA_VERSION: version,
        "dagster/data_version_is_user_provided": "true",
        CODE_VERSION: recipe_version(recipe.code, recipe.params),
    }
    for name in workspace.stages[target.asset].inputs:
        tags |= _input_tags(instance, workspace, name, recipe.parents)
    return tags


def _show(workspace: Workspace, target: Target) -> Shown:
    """What a run that finds the artefact unchanged would show of it, or at least its path."""
    if workspace.refusal(target.asset, target.partition) == NOT_JUDGED:
        return _show_little(workspace, target)  # its maker may be judging it at this moment
    reset_peak_memory()
    try:
        maker = maker_of(target.asset)
        return maker.show(workspace, target.partition, seconds=0.0, reused=True)
    except Exception as error:  # damaged files can raise anything
        logger.warning("%s: cannot be described: %s; run `onepiece verify`", target, error)
        return _show_little(workspace, target)


def _show_little(workspace: Workspace, target: Target) -> Shown:
    folder = workspace.current_folder(target.asset, target.partition)
    path = dg.MetadataValue.path(str(folder))
    return Shown({"path": path, **pages(folder, workspace.data)}, [])


def _report_checks(
    instance: dg.DagsterInstance, target: Target, results: Sequence[dg.AssetCheckResult]
) -> None:
    """Report the outcome of checks on the newest materialisation."""
    if not results:
        return
    (record,) = instance.fetch_materializations(dg.AssetKey(target.asset), limit=1).records
    judged = AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
    for result in results:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(target.asset),
                check_name=str(result.check_name),
                passed=result.passed,
                metadata=result.metadata,
                target_materialization_data=judged,
                severity=result.severity,
                description=result.description,
                blocking=result.severity == dg.AssetCheckSeverity.ERROR,
            )
        )


def _input_tags(
    instance: dg.DagsterInstance, workspace: Workspace, name: str, parents: Mapping[str, str]
) -> dict[str, str]:
    """The version and the event of an input, in the tags that Dagster itself would use."""
    version = _input_version(workspace, name, parents)
    tags = {f"dagster/input_data_version/{name}": version}
    records = instance.fetch_materializations(dg.AssetKey(name), limit=1).records
    if records:
        tags[f"dagster/input_event_pointer/{name}"] = str(records[0].storage_id)
    return tags


def _input_version(workspace: Workspace, name: str, parents: Mapping[str, str]) -> str:
    """The version of an input, as Dagster would record it.

    An asset that keeps several versions is one to Dagster, though one of them is read. If that is
    no longer the version to be read, the result differs from Dagster's.
    """
    if name in parents:
        return parents[name]
    read = {path: parents[path] for path in sorted(parents) if path.startswith(f"{name}/")}
    if name in VERSIONED:
        folder = workspace.input_folder(name)
        if read == {folder.relative_to(workspace.data).as_posix(): folder_hash(folder)}:
            return workspace.version(name)
    return hashlib.sha256("".join(read.values()).encode()).hexdigest()


def _known(instance: dg.DagsterInstance, target: Target) -> str | None:
    record = instance.get_latest_data_version_record(
        dg.AssetKey(target.asset), partition_key=target.partition
    )
    event = record.asset_materialization if record else None
    return (event.tags or {}).get(DATA_VERSION) if event else None
