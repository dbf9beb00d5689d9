"""The items' content vectors, one partition per modality."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from assets.report_pictures import histogram, strided
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding, read_modality_embedding
from model.dataset.raw_data import RawData
from model.params import Params

_SAMPLE = 20_000  # vectors whose norm is plotted


def _describe(made: ModalityEmbedding) -> dict[str, Any]:
    rows, width = made.matrix.shape
    some = np.asarray(strided(made.matrix, _SAMPLE), np.float32)
    counts = [{"rows": name, "count": f"{count:,}"} for name, count in made.counts.items()]
    return {
        "rows of the files": dg.MetadataValue.md(table(counts)),
        "norms": histogram(np.linalg.norm(some, axis=1), "vectors by their norm"),
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
