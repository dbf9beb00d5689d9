"""The items' content vectors, one partition per modality."""

from pathlib import Path
from typing import Any

from assets.artifact_asset import artifact_asset
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding, read_modality_embedding
from model.dataset.raw_data import RawData
from model.params import Params


def _describe(made: ModalityEmbedding) -> dict[str, Any]:
    rows, width = made.matrix.shape
    return {
        "dagster/row_count": rows,
        "width": width,
        "coverage": rows / max(1, len(made.states) - 1),
    }


@artifact_asset(group="dataset", kinds={"numpy"}, describe=_describe)
def modality_embeddings(
    params: Params, partition: str, folder: Path, raw_data: RawData, interactions: Interactions
) -> ModalityEmbedding:
    """One matrix of valid vectors per modality, joined to the items by id."""
    return read_modality_embedding(
        raw_data, interactions, partition, params.modality_embeddings, folder
    )
