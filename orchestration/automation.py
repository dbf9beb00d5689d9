"""Jobs, and what starts them: the retraining schedule and the sensor for new raw files."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._utils.schedules import get_next_cron_tick, is_valid_cron_schedule

from assets.hashing import hash_bytes
from assets.lineage import Lineage
from assets.workspace import SOURCE, Workspace
from model.errors import InputError
from orchestration.delivery import find_unsettled, judge_delivery
from orchestration.graph import LIGHT
from orchestration.materialization import RANGE_END, RANGE_START
from orchestration.synchronization import report_existing

RETRAIN_TAG = "onepiece/retrain"
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_TOKENIZER = ("fused_embeddings", "codebook")
_REFRESH = ("evaluation_report", "champion", "submission")


def build_jobs(workspace: Workspace) -> list[Any]:
    """`full_retrain`, `refresh_submission` and `tokenizer_only`."""
    modalities = workspace.params.modality_embeddings.modalities
    everything = {RANGE_START: modalities[0], RANGE_END: modalities[-1], RETRAIN_TAG: "full"}
    return [
        dg.define_asset_job(
            "full_retrain",
            selection=workspace.main_line,
            description="From the raw files to a submission; what is unchanged is reused.",
            tags=everything,
        ),
        dg.define_asset_job(
            "refresh_submission",
            selection=list(_REFRESH),
            description="Evaluation, judgement and submission again; no training.",
        ),
        dg.define_asset_job(
            "tokenizer_only",
            selection=list(_TOKENIZER),
            description="Item embeddings and semantic IDs again; no training.",
        ),
    ]


def require_schedule(workspace: Workspace) -> None:
    """Refuse an invalid cron schedule.

    Raises:
        InputError: ``automation.retrain_cron`` is none.
    """
    wanted = workspace.params.automation.retrain_cron
    if not is_valid_cron_schedule(wanted):
        raise InputError(
            f"{workspace.params_file}: automation.retrain_cron is {wanted!r}; minute, hour, day, "
            'month and weekday are needed, such as "0 3 * * 1"'
        )


def build_schedule(workspace: Workspace, job: Any) -> dg.ScheduleDefinition:
    """Retrain on the schedule ``automation.retrain_cron``; at most one retraining is queued.

    None starts while a delivery arrives: an incomplete one may look complete. Nothing makes up for
    that tick but the sensor for new raw files, where it is on; the reason says when the next is.

    Raises:
        InputError: it is no cron schedule.
    """
    require_schedule(workspace)
    settings = workspace.params.automation

    @dg.schedule(
        name="scheduled_retrain",
        job=job,
        cron_schedule=settings.retrain_cron,
        execution_timezone=settings.timezone,
        description=f"Full retraining at {settings.retrain_cron} ({settings.timezone}).",
    )
    def scheduled_retrain(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        waiting = _waiting_retrain(context.instance)
        if waiting is not None:
            return dg.SkipReason(f"run {waiting[:8]} is already waiting to retrain")
        tick = context.scheduled_execution_time
        unsettled = _unsettled_delivery(workspace)
        if unsettled is not None:
            after = tick + timedelta(seconds=1)
            following = get_next_cron_tick(settings.retrain_cron, after, settings.timezone)
            return dg.SkipReason(
                f"{unsettled}; start full_retrain when all has arrived, unless new_raw_data is on: "
                f"the next tick is on {following:%Y-%m-%d at %H:%M} ({settings.timezone})"
            )
        return dg.RunRequest(run_key=f"scheduled {tick.isoformat()}")

    return scheduled_retrain


def build_sensor(workspace: Workspace, job: Any) -> dg.SensorDefinition:
    """Retrain when the raw files' content has changed and the delivery has settled."""

    @dg.sensor(
        name="new_raw_data",
        job=job,
        minimum_interval_seconds=30,
        description=(
            "Starts a full retraining when the content of raw_data.source is new. Modification "
            "dates do not count, and files that still change are waited for."
        ),
    )
    def new_raw_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if workspace.params.raw_data.format == "synthetic":
            return dg.SkipReason("raw_data.format is synthetic: no files are delivered")
        source = Path(workspace.params.raw_data.source)
        if not source.is_dir():
            return dg.SkipReason(f"{source}: no such folder")
        seen = json.loads(context.cursor) if context.cursor else _already_read(workspace)
        decided, cursor = judge_delivery(
            source,
            seen,
            hashes=workspace.hashes,
            settled_seconds=workspace.params.automation.settled_seconds,
            now=time.time(),
        )
        if decided is None:
            context.update_cursor(json.dumps(cursor))
            return dg.SkipReason(cursor["why"])
        waiting = _waiting_retrain(context.instance)
        if waiting is not None:  # it begins after this delivery has settled, and reads it
            context.update_cursor(json.dumps(cursor))
            return dg.SkipReason(f"run {waiting[:8]} is already waiting to retrain")
        request = dg.RunRequest(run_key=f"raw data {decided} {cursor['deliveries']}")
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(cursor))

    return new_raw_data


def build_light_automation() -> dg.AutomationConditionSensorDefinition:
    """Keep cheap assets up to date with what they are made from; never train."""
    return dg.AutomationConditionSensorDefinition(
        "light_assets",
        target=list(LIGHT),
        minimum_interval_seconds=30,
        description=f"Makes {' and '.join(LIGHT)} again when what they are made from changed.",
    )


def build_synchronization(workspace: Workspace) -> dg.SensorDefinition:
    """Tell Dagster what DVC, or a command line elsewhere, has put into the data folder."""

    @dg.sensor(
        name="made_elsewhere",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices artefacts that DVC restored or pulled, and tells the asset pages.",
    )
    def made_elsewhere(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        lock = workspace.root / "dvc.lock"
        digest = hash_bytes(lock.read_bytes()) if lock.exists() else "none"
        if digest == context.cursor:
            return dg.SkipReason("dvc.lock is unchanged")
        told = report_existing(context.instance, workspace)
        context.update_cursor(digest)
        return dg.SkipReason(f"reported {', '.join(map(str, told)) or 'nothing new'}")

    return made_elsewhere


def _unsettled_delivery(workspace: Workspace) -> str | None:
    """Why a retraining might read an incomplete delivery; None where nothing suggests so."""
    source = Path(workspace.params.raw_data.source)
    if workspace.params.raw_data.format == "synthetic" or not source.is_dir():
        return None
    settled_seconds = workspace.params.automation.settled_seconds
    return find_unsettled(source, settled_seconds=settled_seconds, now=time.time())


def _already_read(workspace: Workspace) -> dict[str, Any]:
    """The sensor's initial state: the content that the present artefacts were made from."""
    try:
        parents = Lineage.read(workspace.folder("raw_data")).recipe.parents
    except InputError:  # nothing was read yet: whatever lies there is new
        return {}
    return {"content": parents.get(SOURCE)}


def _waiting_retrain(instance: dg.DagsterInstance) -> str | None:
    """The id of a queued retraining run; None if there is none."""
    waiting = instance.get_runs(dg.RunsFilter(statuses=_WAITING, tags={RETRAIN_TAG: "full"}))
    return waiting[0].run_id if waiting else None
