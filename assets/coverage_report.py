"""How many items each modality covers: the gate before any training."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.coverage_checks import COVERAGE_CHECKS
from assets.report_metadata import table
from assets.workspace import Workspace
from model.dataset.coverage import measure_coverage
from model.dataset.coverage_report import CoverageReport
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.params import Params

_MAX_ROWS = 30


def _describe(made: CoverageReport) -> dict[str, Any]:
    rows = [
        {
            "modality": name,
            "covered": row["covered"],
            "total": row["total"],
            "rate": row["rate"],
            "of traffic": _shown(row["traffic"]["events"]),
            "of candidates": _shown(row["candidates"]["rate"]),
            "of cold items": _shown(row["cold_items"]["rate"]),
            **{name: row[name] for name in ("null", "zero", "nan", "wrong_width")},
            "share their vector": _shown(row["duplicate_rate"]),
            "median norm": row["norm"]["p50"],
        }
        for name, row in made.modalities.items()
    ]
    return {
        "dagster/row_count": len(rows),
        "coverage": dg.MetadataValue.md(table(rows)),
        "combinations": dg.MetadataValue.md(table(made.combinations[:_MAX_ROWS])),
    }


def _shown(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.4f}"


@artifact_asset(
    group="dataset",
    kinds={"duckdb", "greatexpectations"},
    describe=_describe,
    checks=COVERAGE_CHECKS,
)
def coverage_report(
    params: Params,
    workspace: Workspace,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> CoverageReport:
    """The paper's table 1 for this data, and more; training waits for its checks."""
    return measure_coverage(
        interactions,
        item_statistics,
        list(modality_embeddings.values()),
        params.coverage_report,
        scratch=workspace.data,
    )
