"""The model that makes the submissions: replaced only by one that is not worse."""

import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.device import inference_device
from assets.lineage import Lineage, damage
from assets.manifest import ANCESTORS_FILE, ancestors
from assets.manifest_file import version_name
from assets.promotion import (
    CHECKPOINT_FOLDER,
    CODEBOOK_FOLDER,
    DECISION_FILE,
    INCUMBENT_METRICS_FILE,
    METRIC,
    JudgedModel,
    decide,
)
from assets.report_metadata import table
from assets.report_pictures import bars
from assets.rollbacks import model_hashes, rolled_away_as
from assets.workspace import CHAMPION, LATEST_FILE, Workspace
from model.artifact import atomic_write, read_json, write_json
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.errors import InputError
from model.inference.champion import CHAMPION_FILE, METRICS_FILE, beam_weight_of
from model.inference.evaluation import evaluate
from model.inference.index_cache import SEARCH_INDEX
from model.inference.inputs import InferenceInputs
from model.inference.report import EvaluationReport
from model.network.checkpoint import Checkpoint
from model.params import Params
from model.partial_folders import publish_folder

logger = logging.getLogger("onepiece")

_SHOWN = ("hr@10", "ndcg@10", METRIC)


def keep_judgement(workspace: Workspace, staging: Path, run_id: str) -> None:
    """Store a judgement under its own name; a promoted model becomes the champion."""
    name = version_name(Lineage.read(staging))
    promoted = JudgedModel.load(staging).decision.promoted
    home = workspace.folder(CHAMPION)
    if not (home / name).exists() or damage(home / name, workspace.hashes):
        publish_folder(staging, home / name)
    if promoted:
        atomic_write(home / CHAMPION_FILE, f"{name}\n")
    atomic_write(home / LATEST_FILE, f"{name}\n")


def _describe(made: JudgedModel) -> dict[str, Any]:
    decision = made.decision
    rows = [_row("challenger", made.metrics)]
    if made.incumbent_metrics is not None:
        rows.append(_row("champion", made.incumbent_metrics))
    return {
        "dagster/row_count": len(rows),
        "scores": bars(
            [row["model"] for row in rows],
            [row[f"validation {METRIC}"] for row in rows],
            f"validation {METRIC}",
        ),
        "promoted": decision.promoted,
        "reason": decision.reason,
        "comparison": dg.MetadataValue.md(table(rows)),
    }


def _row(model: str, metrics: dict[str, Any]) -> dict[str, Any]:
    validation = metrics["validation"]
    low, high = validation["ci95"][METRIC]
    return {
        "model": model,
        f"validation {METRIC}": validation[METRIC],
        "95 %": f"{low:.4f} to {high:.4f}",
        **{f"test {name}": metrics["cascade"][name] for name in _SHOWN},
    }


@artifact_asset(
    group="models",
    kinds={"pytorch"},
    pool="gpu",
    describe=_describe,
    publish=keep_judgement,
    deps=["codebook"],
)
def champion(
    params: Params,
    workspace: Workspace,
    folder: Path,
    evaluation_report: EvaluationReport,
    recommender_checkpoint: Checkpoint,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> JudgedModel:
    """The judgement of the newest model; promoted unless it is worse than the champion.

    For this the champion is measured again, on the same validation targets. A model that was rolled
    away from is not promoted, whatever its score.
    """
    incumbent = _incumbent(workspace)
    measured, obstacle, left_as = None, None, None
    if incumbent is not None:
        obstacle, left_as = find_obstacles(workspace, incumbent, recommender_checkpoint)
    if incumbent is not None and obstacle is None:
        standing = JudgedModel.load(incumbent)
        measured = evaluate(
            InferenceInputs(
                standing.checkpoint,
                standing.codebook,
                interactions,
                item_statistics,
                modality_embeddings,
            ),
            _as_submitted(params, incumbent),
            inference_device(),
            index_folder=workspace.data / SEARCH_INDEX,
        ).metrics
    decision = decide(
        evaluation_report.metrics,
        measured,
        incumbent=incumbent.name if incumbent else None,
        obstacle=obstacle,
        left_as=left_as,
    )
    outcome = "promoted" if decision.promoted else "not promoted"
    logger.info("champion: the newest model is %s. %s", outcome, decision.reason)
    folder.mkdir(parents=True)
    write_json(folder / DECISION_FILE, asdict(decision))
    write_json(folder / METRICS_FILE, evaluation_report.metrics)
    if measured is not None:
        write_json(folder / INCUMBENT_METRICS_FILE, measured)
    parents = workspace.recipe(CHAMPION).parents
    write_json(folder / ANCESTORS_FILE, ancestors(workspace, parents))
    if decision.promoted:
        for name in (CHECKPOINT_FOLDER, CODEBOOK_FOLDER):
            _copy(workspace.input_folder(name), folder / name)
    return JudgedModel.load(folder)


def find_obstacles(
    workspace: Workspace, incumbent: Path, newest: Checkpoint
) -> tuple[str | None, str | None]:
    """Why the champion has to make way, and as what the newest model was rolled away from.

    A champion that only cannot be compared could still submit: it stays where the newest model was
    rolled away from.

    Raises:
        InputError: neither of them may submit.
    """
    obstacle, left_as = _obstacle(workspace, incumbent, newest), _left_as(workspace, incumbent)
    _refuse_without_either(incumbent, obstacle, left_as)
    if obstacle is None and left_as is None:
        obstacle = _drawn_otherwise(workspace, incumbent)
    return obstacle, left_as


def _incumbent(workspace: Workspace) -> Path | None:
    if not (workspace.folder(CHAMPION) / CHAMPION_FILE).exists():
        return None
    return workspace.input_folder(CHAMPION)


def _obstacle(workspace: Workspace, incumbent: Path, newest: Checkpoint) -> str | None:
    """Why the champion has to be replaced, whatever its score: damaged, or of other items.

    Its training may have been replaced long ago, so that only a new champion, or restoring the
    folder, makes submissions possible again.
    """
    damaged = damage(incumbent, workspace.hashes)
    if damaged:
        return f"The champion {incumbent.name} is damaged: {damaged[0]}."
    if JudgedModel.load(incumbent).checkpoint.schema.vocabulary_hash != (
        newest.schema.vocabulary_hash
    ):
        return "The items or features changed: the champion cannot read this data."
    return None


def _drawn_otherwise(workspace: Workspace, incumbent: Path) -> str | None:
    """Why the champion's score would be too high, if its validation targets were others.

    It has then trained on today's, and no newer model could reach it.
    """
    today = Lineage.read(workspace.folder("interactions")).recipe
    then = read_json(incumbent / ANCESTORS_FILE)["interactions"]
    everyone = workspace.params.interactions.split.validation_fraction == 1.0  # whatever the seed
    if then["params"] == today.params and (everyone or then["seed"] == today.seed):
        return None
    return (
        "The seed or interactions.split changed: the champion has trained on some of today's "
        "validation targets, and cannot be compared."
    )


def _left_as(workspace: Workspace, incumbent: Path) -> str | None:
    """The name under which the newest model was rolled away from, unless it is the champion."""
    newest = model_hashes(workspace.data)
    if newest == model_hashes(incumbent):
        return None
    return rolled_away_as(workspace.folder(CHAMPION), newest)


def _refuse_without_either(incumbent: Path, obstacle: str | None, left_as: str | None) -> None:
    """Refuse where neither the champion nor the newest model may submit: a person must choose."""
    if obstacle is not None and left_as is not None:
        raise InputError(
            f"{incumbent}: cannot go on ({obstacle.rstrip('.')}), and the newest model was rolled "
            f"away from as {left_as}; put the champion's folder back, train another model, or name "
            "one by `onepiece rollback MODEL`"
        )


def _as_submitted(params: Params, incumbent: Path) -> Params:
    """The parameters with the beam weight that the champion submits with."""
    weight = beam_weight_of(incumbent, params.cascade)
    cascade = params.cascade.model_copy(update={"beam_weight": weight})
    return params.model_copy(update={"cascade": cascade})


def _copy(source: Path, target: Path) -> None:
    """Copy by hard links where the file system can: artefacts are never modified in place."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:  # another device, or a file system without links
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link)
