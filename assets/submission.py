"""The recommendations file: kept by id, never overwritten, with its manifest."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.device import device_name, inference_device
from assets.ledger import update_ledger
from assets.lineage import Lineage
from assets.manifest import write_manifest
from assets.manifest_file import submission_damage, version_name
from assets.measurement import measure_of_champion
from assets.promotion import JudgedModel
from assets.report_metadata import table
from assets.report_pictures import histogram
from assets.workspace import LATEST_FILE, SUBMISSION, Workspace
from model.artifact import atomic_write
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.recommendable import require_enough_candidates
from model.inference.champion import beam_weight_of
from model.inference.index_cache import SEARCH_INDEX
from model.inference.inputs import InferenceInputs
from model.inference.submission import Submission, make_submission
from model.params import Params
from model.partial_folders import publish_folder


def keep_by_id(workspace: Workspace, staging: Path, run_id: str) -> None:
    """Store a finished submission under its id and let ``latest`` name it.

    The same content from the same ancestors has the same id: an existing folder is kept unless it
    is damaged.
    """
    name = version_name(Lineage.read(staging))
    folder = workspace.folder(SUBMISSION) / name
    if not folder.exists() or submission_damage(folder, workspace.hashes):
        write_manifest(
            workspace,
            staging,
            run_id=run_id,
            device=device_name(),
            measurement=measure_of_champion(workspace),
        )
        publish_folder(staging, folder)
    atomic_write(workspace.folder(SUBMISSION) / LATEST_FILE, f"{name}\n")
    update_ledger(workspace)
    shutil.rmtree(_shards(workspace), ignore_errors=True)


def _shards(workspace: Workspace) -> Path:
    """Where finished shards are kept until all are done, so that a killed run can resume."""
    return workspace.data / ".resume" / SUBMISSION


_SHOWN_USERS = 5


def _describe(made: Submission) -> dict[str, Any]:
    items = made.recommendations.item_ids
    first = made.raw_item_ids.slice(0, _SHOWN_USERS * items.shape[1]).to_pylist()
    rows = [
        {"user": user, "items": ", ".join(first[row * items.shape[1] :][: items.shape[1]])}
        for row, user in enumerate(made.user_ids.slice(0, _SHOWN_USERS).to_pylist())
    ]
    times = np.bincount(items.ravel())
    return {
        "dagster/row_count": len(made.raw_item_ids),
        "first users": dg.MetadataValue.md(table(rows)),
        "spread": histogram(times[times > 0], "recommended items by their number of users"),
        **made.summary,
    }


def _judge_rows(made: Submission, workspace: Workspace) -> Verdict:
    items = np.sort(made.recommendations.item_ids, axis=1)
    bad = np.flatnonzero((items[:, 0] <= 0) | (np.diff(items, axis=1) == 0).any(axis=1))
    users = made.user_ids.take(bad[:_SHOWN_USERS]).to_pylist()
    reason = f"{len(bad):,} of {len(items):,} users lack ten different items."
    reason += f" First users: {', '.join(map(str, users))}." if users else ""
    return Verdict(not len(bad), reason, {"users": len(items), "bad": len(bad)})


@artifact_asset(
    group="recommendations",
    kinds={"pytorch", "json"},
    pool="gpu",
    describe=_describe,
    checks=[
        Check("ten_different_items", "Every user gets ten different items.", _judge_rows),
    ],
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
    """Ten items for every user from the champion, validated, in the competition's format.

    If the filters leave any user fewer than ten, it fails before anything is computed.
    """
    require_enough_candidates(
        interactions, item_statistics.popularity, params.cascade, of_everyone=True
    )
    return make_submission(
        InferenceInputs(
            champion.checkpoint,
            champion.codebook,
            interactions,
            item_statistics,
            modality_embeddings,
        ),
        params.cascade,
        inference_device(),
        beam_weight=beam_weight_of(champion.folder, params.cascade),
        shard_folder=_shards(workspace),
        index_folder=workspace.data / SEARCH_INDEX,
    )
