"""One collaborative vector for every item."""

from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.device import inference_device
from assets.report_metadata import table
from assets.report_pictures import histogram, strided
from assets.workspace import Workspace
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.embedding import embed_items
from model.network.checkpoint import Checkpoint

_SAMPLE = 20_000  # vectors that are checked and plotted
_NORM_TOLERANCE = 1e-3


def _some(made: FusedEmbeddings) -> np.ndarray:
    return np.asarray(strided(made.matrix, _SAMPLE), np.float32)


def _describe(made: FusedEmbeddings) -> dict[str, Any]:
    rows, width = made.matrix.shape
    some = _some(made)
    cosines = (some[1:] * some[:-1]).sum(axis=1)  # of neighbours in the vocabulary: any two items
    facts = {"items": f"{rows:,}", "mean cosine of two items": f"{cosines.mean():.4f}"}
    return {
        "dagster/row_count": rows,
        "width": width,
        "facts": dg.MetadataValue.md(table([facts])),
        "cosines": histogram(cosines, "pairs of items by their cosine"),
    }


def _judge_vectors(made: FusedEmbeddings, workspace: Workspace) -> Verdict:
    norms = np.linalg.norm(_some(made), axis=1)
    bad = np.flatnonzero(~(np.abs(norms - 1) < _NORM_TOLERANCE))  # NaN is bad as well
    reason = f"{len(bad):,} of {len(norms):,} sampled vectors are not unit vectors."
    return Verdict(not len(bad), reason, {"sampled": len(norms), "bad": len(bad)})


@artifact_asset(
    group="items",
    kinds={"pytorch"},
    pool="gpu",
    describe=_describe,
    checks=[Check("vectors_are_unit", "Every vector is finite and of length one.", _judge_vectors)],
)
def fused_embeddings(
    workspace: Workspace,
    encoder_checkpoint: Checkpoint,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> FusedEmbeddings:
    """The encoder's embedding of every item: unit vectors, none missing."""
    encoder_checkpoint.require_data(interactions, item_statistics, modality_embeddings)
    device = inference_device()
    features = ItemFeatureStore(interactions, item_statistics, modality_embeddings, device)
    return embed_items(encoder_checkpoint, features, device, scratch=workspace.data)
