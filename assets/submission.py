"""The recommendations file: kept by id, never overwritten, with its manifest."""

import shutil
from pathlib import Path
from typing import Any

from assets.artifact_asset import artifact_asset
from assets.device import device_name, inference_device
from assets.ledger import update_ledger
from assets.lineage import Lineage
from assets.manifest import version_name, write_manifest
from assets.promotion import JudgedModel
from assets.workspace import CHAMPION, LATEST_FILE, SUBMISSION, Workspace
from model.artifact import atomic_write, publish_folder
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.submission import Submission, make_submission
from model.params import Params


def keep_by_id(workspace: Workspace, staging: Path, run_id: str) -> None:
    """Put a finished submission beside the earlier ones and let ``latest`` name it.

    The same content from the same ancestors has the same id: what stands there already stays.
    """
    name = version_name(Lineage.read(staging))
    folder = workspace.folder(SUBMISSION) / name
    if not folder.exists():
        metrics = JudgedModel.load(workspace.input_folder(CHAMPION)).metrics
        write_manifest(workspace, staging, run_id=run_id, device=device_name(), metrics=metrics)
        publish_folder(staging, folder)
    atomic_write(workspace.folder(SUBMISSION) / LATEST_FILE, f"{name}\n")
    update_ledger(workspace)
    shutil.rmtree(_shards(workspace), ignore_errors=True)


def _shards(workspace: Workspace) -> Path:
    """Where finished pieces wait for the rest, also through a kill."""
    return workspace.data / ".resume" / SUBMISSION


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
    champion: JudgedModel,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> Submission:
    """Ten items for every user from the champion, validated, in the competition's form."""
    return make_submission(
        champion.checkpoint,
        champion.codebook,
        interactions,
        item_statistics,
        modality_embeddings,
        params.cascade,
        inference_device(),
        beam_weight=champion.beam_weight,
        shard_folder=_shards(workspace),
    )
