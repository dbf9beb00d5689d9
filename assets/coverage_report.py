"""How many items each modality covers: the gate before any training."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.coverage_checks import COVERAGE_CHECKS
from assets.report_metadata import table
from model.dataset.coverage import CoverageReport, measure_coverage
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.params import Params


def _describe(made: CoverageReport) -> dict[str, Any]:
    rows = [
        {"modality": name, "covered": row["covered"], "total": row["total"], "rate": row["rate"]}
        for name, row in made.modalities.items()
    ]
    return {"coverage": dg.MetadataValue.md(table(rows))}


@artifact_asset(
    group="dataset",
    kinds={"greatexpectations"},
    describe=_describe,
    checks=COVERAGE_CHECKS,
)
def coverage_report(
    params: Params,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> CoverageReport:
    """The paper's table 1 for this data, and more; training waits for its checks."""
    return measure_coverage(
        interactions, item_statistics, list(modality_embeddings.values()), params.coverage_report
    )
