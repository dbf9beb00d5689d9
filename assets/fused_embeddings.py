"""One collaborative vector for every item."""

from typing import Any

from assets.artifact_asset import artifact_asset
from assets.device import inference_device
from assets.workspace import Workspace
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.embedding import embed_items
from model.network.checkpoint import Checkpoint


def _describe(made: FusedEmbeddings) -> dict[str, Any]:
    rows, width = made.matrix.shape
    return {"dagster/row_count": rows, "width": width}


@artifact_asset(group="items", kinds={"pytorch"}, pool="gpu", describe=_describe)
def fused_embeddings(
    workspace: Workspace,
    encoder_checkpoint: Checkpoint,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> FusedEmbeddings:
    """What the encoder makes of each item: unit vectors, no holes."""
    device = inference_device()
    features = ItemFeatureStore(interactions, item_statistics, modality_embeddings, device)
    return embed_items(encoder_checkpoint, features, device, scratch=workspace.data)
