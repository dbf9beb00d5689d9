"""Semantic IDs."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.params import Params
from model.tokenizer.codebook import Codebook, build_codebook


def collision_rows(report: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's table 2 for this data, one row per source."""
    return [
        {
            "source": row["source"],
            "loss1": row["loss1"],
            "loss2": row["loss2"],
            "conflicts before": row["before"]["conflicts"],
            "rate before": row["before"]["conflict_rate"],
            "conflicts after": row["after"]["conflicts"],
            "rate after": row["after"]["conflict_rate"],
            "unique pairs": row["after"]["unique_pairs"],
            "moved": row["moved"],
        }
        for row in report
    ]


def _describe(made: Codebook) -> dict[str, Any]:
    return {
        "dagster/row_count": len(made.codes) - 1,
        "semantic ids": len(made.sid_keys),
        "collisions": dg.MetadataValue.md(table(collision_rows(made.report))),
    }


@artifact_asset(group="items", kinds={"faiss"}, describe=_describe)
def codebook(
    params: Params,
    fused_embeddings: FusedEmbeddings,
    modality_embeddings: dict[str, ModalityEmbedding],
    interactions: Interactions,
) -> Codebook:
    """Two-level semantic IDs before and after greedy re-assignment, and their inverse map."""
    return build_codebook(
        fused_embeddings,
        list(modality_embeddings.values()),
        interactions,
        params.codebook,
        params.seed,
    )
