"""A decorator that makes a plain function over library values a Dagster asset with lineage.

    @artifact_asset(group="items", kinds={"faiss"})
    def codebook(params: Params, fused_embeddings: FusedEmbeddings) -> Codebook:
        return build_codebook(...)

The function's name is also that of the asset, of its folder below the data folder and of the DVC
stage. Every parameter but the four of ``maker.GIVEN`` names an upstream asset and is opened by its
annotation's ``load``. The result is saved with its lineage and published atomically. While nothing
that decides its content changes, it is reused.
"""

import inspect
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.aside import bring_back, bring_back_named, set_aside_unnamed
from assets.checks import Check, refusal
from assets.lineage import Lineage, Recipe
from assets.maker import Maker, Shown, remember
from assets.peak_memory import reset_peak_memory
from assets.staleness import edited_since, is_current, require_recorded_source
from assets.transient import forbidden_sentence, is_forbidden, may_pass
from assets.workspace import Workspace
from model.artifact import Artifact, disk_filled_up
from model.errors import InputError, is_disk_full
from model.partial_folders import finish_exchange, publish_folder

logger = logging.getLogger("onepiece")

# backfill_policy is in beta; we use it for single runs over several partitions.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=dg.BetaWarning)

OWNER = "team:recommendation"
MAX_RETRIES, FIRST_RETRY_SECONDS = 3, 2.0


def artifact_asset(
    *,
    group: str,
    kinds: set[str],
    deps: Sequence[str] = (),
    pool: str | None = None,
    backend: Callable[[], str] | None = None,
    tags: Mapping[str, str] | None = None,
    describe: Callable[[Any], Mapping[str, Any]] = lambda made: {},
    checks: Sequence[Check] = (),
    publish: Callable[[Workspace, Path, str], None] | None = None,
) -> Callable[[Callable[..., Artifact]], dg.AssetsDefinition]:
    """Make an asset of a function; see the module's docstring.

    Args:
        group: of the asset, in the graph.
        kinds: technologies, shown as badges.
        deps: assets that must exist before it is made but are not opened for it.
        pool: concurrency pool.
        backend: names what computes it on this machine, where that depends on the machine.
        tags: of the asset.
        describe: metadata from the finished artefact.
        checks: what must hold of it.
        publish: puts a finished folder in its place, given the run's id; None replaces the
            previous one.
    """

    def decorate(function: Callable[..., Artifact]) -> dg.AssetsDefinition:
        maker = Maker(function, deps, describe, checks, pool, backend, publish)
        remember(maker)

        @dg.asset(
            name=maker.name,
            group_name=group,
            kinds=kinds,
            pool=pool,
            tags={"compute": "inference" if pool else "cpu", **(tags or {})},
            owners=[OWNER],
            backfill_policy=dg.BackfillPolicy.single_run(),
            description=inspect.cleandoc(function.__doc__ or ""),
            deps=_deps(maker),
            check_specs=_check_specs(maker),
            config_schema={},  # without one Dagster accepts and ignores any config
        )
        def compute(
            context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
        ) -> Iterator[Any]:
            with _telling_dagster(maker, workspace, context.retry_number):
                yield from _materialize(maker, context, workspace)

        return compute

    return decorate


def _deps(maker: Maker) -> list[dg.AssetDep]:
    everything = dg.AllPartitionMapping()
    return [dg.AssetDep(name, partition_mapping=everything) for name in maker.upstream]


def _check_specs(maker: Maker) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check.name, asset=maker.name, description=check.description, blocking=check.blocking
        )
        for check in maker.checks
    ]


@contextmanager
def _telling_dagster(maker: Maker, workspace: Workspace, retries: int) -> Iterator[None]:
    """Translate an error for Dagster: a failure without retries, a retry, or the error itself."""
    try:
        yield
    except InputError as error:  # the same input would be refused again
        raise dg.Failure(str(error), allow_retries=False) from error
    except Exception as error:
        refused = _as_refusal(error, maker.name, workspace.data)
        if refused is not None:
            raise dg.Failure(str(refused), allow_retries=False) from refused
        if not may_pass(error):
            raise
        wait = FIRST_RETRY_SECONDS * 2**retries
        logger.warning("%s: %s; trying again in %.0f s", maker.name, error, wait)
        raise dg.RetryRequested(MAX_RETRIES, seconds_to_wait=wait) from error


def _as_refusal(error: Exception, name: str, data: Path) -> InputError | None:
    """An error that only the user can fix (full disk, permissions), as an ``InputError``."""
    if is_disk_full(error):
        return disk_filled_up(name, data)
    if is_forbidden(error):
        return InputError(forbidden_sentence(error))
    return None


@dataclass(frozen=True)
class Made:
    """One artefact on disk and what is known of its making."""

    partition: str | None
    version: str
    shown: Shown


def _materialize(
    maker: Maker, context: dg.AssetExecutionContext, workspace: Workspace
) -> Iterator[Any]:
    stages = workspace.stages
    for above in stages[maker.name].inputs:
        if stages[above].partitioned:
            set_aside_unnamed(workspace, stages[above])
            bring_back_named(workspace, stages[above])
    partitions = list(context.partition_keys) if stages[maker.name].partitioned else [None]
    made = [_ensure(maker, workspace, key, context.run_id) for key in partitions]
    first = made[0]
    version = first.version if len(made) == 1 else _joint_version(made)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata=first.shown.metadata if len(made) == 1 else {"partitions": len(made)},
        check_results=first.shown.results,
    )
    if len(made) > 1:
        _log_partitions(context, made)


def _joint_version(made: Sequence[Made]) -> str:
    return "+".join(one.version for one in made)[:200]


def _log_partitions(context: dg.AssetExecutionContext, made: Sequence[Made]) -> None:
    """Give every partition of a range its own data version and metadata.

    Dagster applies the one result of a run over several partitions to all of them; a second event
    gives each partition its own.
    """
    for one in made:
        keys = [one.partition] if one.partition is not None else None
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=keys),
            limit=1,
        ).records
        event = records[0].asset_materialization
        tags = {**(event.tags or {} if event else {}), "dagster/data_version": one.version}
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key, partition=one.partition, metadata=one.shown.metadata, tags=tags
            )
        )


def _ensure(maker: Maker, workspace: Workspace, partition: str | None, run_id: str) -> Made:
    """Make an artefact unless it is current; check it; have it recorded."""
    target = workspace.stages[maker.name].target(partition)
    with workspace.exclusive(maker.name, partition):
        finish_exchange(workspace.folder(maker.name, partition))
        if partition is not None:
            bring_back(workspace, maker.name, partition)
        recipe = workspace.recipe(maker.name, partition)
        reused = not workspace.force and is_current(workspace, recipe)
        with nullcontext() if reused else workspace.device(maker.pool):
            started = time.monotonic()  # waiting for the device does not count
            reset_peak_memory()
            if reused:
                logger.info("%s: unchanged, reused", target)
            else:
                logger.info("%s: making it", target)
                _make(maker, workspace, recipe, run_id)
            seconds = time.monotonic() - started
        shown = maker.show(workspace, partition, seconds=seconds, reused=reused)
        refused = refusal(maker.checks, shown.results)
        lineage = Lineage.read(workspace.current_folder(maker.name, partition))
        workspace.refusals.note(target, lineage, refused)
        if refused is None:
            workspace.recorder.record(target, partial(edited_since, workspace, recipe))
        if not reused:
            logger.info("%s: made in %.1f s", target, seconds)
        version = workspace.version(maker.name, partition)
        return Made(partition, version, shown)


def _make(maker: Maker, workspace: Workspace, recipe: Recipe, run_id: str) -> None:
    staging = workspace.staging(maker.name, recipe.partition)
    shutil.rmtree(staging, ignore_errors=True)
    staging.parent.mkdir(parents=True, exist_ok=True)
    maker.make(workspace, recipe.partition, staging)
    require_recorded_source(workspace, maker.name)
    lineage = Lineage.of(recipe, staging, workspace.hashes)
    lineage.write(staging)
    if any(check.blocking for check in maker.checks):
        target = workspace.stages[maker.name].target(recipe.partition)
        workspace.refusals.await_judgement(target, lineage)
    if maker.publish is None:
        publish_folder(staging, workspace.folder(maker.name, recipe.partition))
    else:
        maker.publish(workspace, staging, run_id)
    shutil.rmtree(staging, ignore_errors=True)
