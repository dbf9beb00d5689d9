"""The recommendations file: kept by id, never overwritten, with its manifest."""

import shutil
from pathlib import Path
from typing import Any

from assets.artifact_asset import artifact_asset
from assets.device import device_name, inference_device
from assets.lineage import Lineage
from assets.manifest import submission_id, write_manifest
from assets.workspace import LATEST_FILE, VERSIONED, Workspace
from model.artifact import atomic_write, publish_folder, read_json
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.report import EvaluationReport
from model.inference.submission import Submission, make_submission
from model.network.checkpoint import Checkpoint
from model.params import Params
from model.tokenizer.codebook import Codebook


def keep_by_id(workspace: Workspace, staging: Path, run_id: str) -> None:
    """Put a finished submission beside the earlier ones and let ``latest`` name it.

    The same content from the same ancestors has the same id: what stands there already stays.
    """
    name = submission_id(Lineage.read(staging))
    folder = workspace.folder(VERSIONED) / name
    if not folder.exists():
        metrics = read_json(workspace.folder("evaluation_report") / "metrics.json")
        write_manifest(workspace, staging, run_id=run_id, device=device_name(), metrics=metrics)
        publish_folder(staging, folder)
    atomic_write(workspace.folder(VERSIONED) / LATEST_FILE, f"{name}\n")
    shutil.rmtree(_shards(workspace), ignore_errors=True)


def _shards(workspace: Workspace) -> Path:
    """Where finished pieces wait for the rest, also through a kill."""
    return workspace.data / ".resume" / VERSIONED


def _describe(made: Submission) -> dict[str, Any]:
    return {"dagster/row_count": len(made.raw_item_ids), **made.summary}


@artifact_asset(
    group="recommendations",
    kinds={"pytorch", "json"},
    pool="gpu",
    describe=_describe,
    publish=keep_by_id,
)
def submission(
    params: Params,
    workspace: Workspace,
    recommender_checkpoint: Checkpoint,
    codebook: Codebook,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
    evaluation_report: EvaluationReport,
) -> Submission:
    """Ten items for every user, validated, in the competition's form."""
    return make_submission(
        recommender_checkpoint,
        codebook,
        interactions,
        item_statistics,
        modality_embeddings,
        params.cascade,
        inference_device(),
        beam_weight=evaluation_report.beam_weight,
        shard_folder=_shards(workspace),
    )
