"""`onepiece materialize`: find what is missing or out of date and make it, in one Dagster run."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from assets.aside import is_aside
from assets.staleness import why_outdated
from assets.workspace import Workspace
from model.artifact import require_folder
from model.errors import InputError
from model.training import RECOMMENDER
from orchestration.defaults import DEFAULT_PARAMS
from orchestration.failures import RunFailedError
from orchestration.graph import load_assets
from orchestration.instance import open_instance
from orchestration.lock_guard import LOCK
from orchestration.running import running
from orchestration.synchronization import report_existing
from orchestration.targets import Target, targets_of

logger = logging.getLogger("onepiece")

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MADE, REUSED, REFUSED = "made", "reused", "refused"
_CHECK_FAILED = "DagsterAssetCheckFailedError"
_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True)
class Reason:
    """Why a target takes part in a run.

    Attributes:
        state: what becomes of it: made, reused after another check, or refused.
        sentence: the reason.
    """

    state: str
    sentence: str


_SET_ASIDE = Reason(REUSED, "set aside; brought back, and made again if out of date")


def materialize(
    workspace: Workspace, names: Sequence[str], *, only: bool, tags: Mapping[str, str]
) -> bool:
    """Bring assets up to date.

    Args:
        workspace: parameters and data folder.
        names: assets or partitions (``modality_embeddings@81``); none means all that a submission
            is made from.
        only: leave alone what is upstream of them.
        tags: of the run.

    Returns:
        Whether anything had to be made.

    Raises:
        InputError: a name is unknown, an asset refused its input, or nothing can be written.
        RunFailedError: something else went wrong.
    """
    targets = targets_of(workspace, names, only=only)
    require_folder(workspace.data, writable=True)
    with open_instance(workspace) as instance:
        report_existing(instance, workspace)  # a run records the known versions of its inputs
        wanted = targets if only or workspace.force else outdated(workspace, targets)
        if not wanted:
            logger.info("%s: up to date", ", ".join(names) or "everything")
            return False
        if any(target.asset == RECOMMENDER for target in wanted):
            workspace.require_decoder()  # before hours of training the encoder
        warn_of_another_file(workspace)
        for together in split_into_runs(workspace, wanted):
            run(instance, workspace, together, tags)
    return True


def warn_of_another_file(workspace: Workspace) -> None:
    """Warn that another parameter file's artefacts are unrecorded and replace recorded ones."""
    foreign = workspace.params_file != workspace.root / DEFAULT_PARAMS
    if foreign and workspace.is_own_data and (workspace.root / LOCK).exists():
        logger.warning(
            "%s: its artefacts replace in %s what %s records; give --data FOLDER to keep both",
            workspace.params_file,
            workspace.data,
            LOCK,
        )


def outdated(workspace: Workspace, targets: Sequence[Target]) -> list[Target]:
    """Targets that must be made, and those that a killed run made but did not record."""
    found = stale(workspace, targets)
    standing = [str(target) for target in targets if target not in found]
    unrecorded = set(workspace.recorder.unrecorded(standing)) if standing else set()
    return [target for target in targets if target in found or str(target) in unrecorded]


def stale(workspace: Workspace, targets: Sequence[Target]) -> list[Target]:
    """Targets that are missing, damaged, out of date, or downstream of one that is."""
    return list(reasons(workspace, targets))


def reasons(workspace: Workspace, targets: Sequence[Target]) -> dict[Target, Reason]:
    """Targets that are missing, damaged, out of date, or downstream of one that is, and why."""
    found: dict[Target, Reason] = {}
    for target in targets:
        above = set(workspace.stages[target.asset].inputs)
        reason = _below([other for other in found if other.asset in above], found)
        reason = reason or _reason(workspace, target)
        if reason is not None:
            found[target] = reason
    return found


def _below(above: Sequence[Target], found: Mapping[Target, Reason]) -> Reason | None:
    refused = any(found[other].state == REFUSED for other in above)
    names = ", ".join(dict.fromkeys(other.asset for other in above))
    return Reason(REFUSED if refused else MADE, f"downstream of {names}") if above else None


def _reason(workspace: Workspace, target: Target) -> Reason | None:
    try:
        recipe = workspace.recipe(target.asset, target.partition)
    except InputError as error:  # the run says so itself
        return Reason(REFUSED, str(error))
    if target.partition is not None and is_aside(workspace, target.asset, target.partition):
        return _SET_ASIDE
    outdated_by = why_outdated(workspace, recipe)
    if outdated_by is not None:
        return Reason(MADE, outdated_by)
    refusal = workspace.refusal(target.asset, target.partition)
    return None if refusal is None else Reason(REUSED, f"to be checked again: {refusal}")


def run(
    instance: dg.DagsterInstance,
    workspace: Workspace,
    targets: Sequence[Target],
    tags: Mapping[str, str],
) -> None:
    """Make the targets in one Dagster run in this process.

    Raises:
        InputError: an asset refused its input.
        RunFailedError: an asset failed, or a blocking check did.
        KeyboardInterrupt: the user stopped it.
    """
    names = list(dict.fromkeys(target.asset for target in targets))
    assets = load_assets(workspace, names)
    definitions = dg.Definitions(assets=assets, resources={"workspace": workspace})
    keys = [target.partition for target in targets if target.partition is not None]
    ranged = {RANGE_START: keys[0], RANGE_END: keys[-1]} if keys else {}
    run_id = make_new_run_id()
    with running(workspace.home, run_id):
        outcome = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            run_id=run_id,
            tags={**ranged, **tags},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    if not outcome.success:
        raise _failure(outcome, workspace)


def _failure(outcome: dg.ExecuteInProcessResult, workspace: Workspace) -> BaseException:
    """What to tell the user: the message of a refusal, or the failing step and its error."""
    for event in outcome.all_events:
        if not event.is_step_failure:
            continue
        errors = _chain(event.step_failure_data.error)
        refusals = [error for error in errors if error.cls_name == InputError.__name__]
        if refusals:
            return InputError(_message(refusals[0]))
        if any(error.cls_name in _INTERRUPTED for error in errors):
            return KeyboardInterrupt()
        if errors and errors[-1].cls_name == _CHECK_FAILED:
            reason = workspace.refusal(str(event.step_key)) or _message(errors[-1])
            return RunFailedError(f"{event.step_key}: a blocking check failed: {reason}")
        if errors:
            last = errors[-1]
            return RunFailedError(f"{event.step_key}: {_message(last)}\n{''.join(last.stack)}")
    return RunFailedError("the run was stopped before it finished")


def _chain(error: Any) -> list[Any]:
    """An error as Dagster stored it, and what caused it, outermost first."""
    errors = []
    while error is not None:
        errors.append(error)
        error = error.cause
    return errors


def _message(error: Any) -> str:
    """An error's message without the class name that Python puts before it."""
    return re.sub(rf"^[\w.]*{error.cls_name}: ", "", error.message.strip())


def split_into_runs(workspace: Workspace, targets: Sequence[Target]) -> list[list[Target]]:
    """Group targets into runs: those of the main line together, then every other one alone.

    Partitions of a study are long trainings: each is recorded, and can fail, by itself.
    """
    together = [target for target in targets if target.asset in workspace.main_line]
    alone = [[target] for target in targets if target.asset not in workspace.main_line]
    return [together, *alone] if together else alone
