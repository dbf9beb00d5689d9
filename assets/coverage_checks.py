"""What the coverage report must show before anything is trained: judged by Great Expectations.

Great Expectations takes seconds to import, so that happens inside the one function that uses it.
It judges one row of aggregates per modality, never the items themselves.
"""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from assets.artifact_asset import Check, Verdict
from assets.report_metadata import table
from assets.workspace import Workspace
from model.dataset.coverage import CoverageReport

_ROW = list[dict[str, Any]]


def _rows(report: CoverageReport, workspace: Workspace) -> _ROW:
    """One row per modality: what was measured beside what is demanded."""
    thresholds = workspace.params.coverage_report.thresholds
    rows = []
    for name, row in report.modalities.items():
        demanded = thresholds.get(name, thresholds["default"])
        delivered = max(1, row["covered"] + row["null"] + row["zero"] + _invalid(row))
        rows.append(
            {
                "modality": name,
                "covered": row["covered"],
                "total": row["total"],
                "rate": row["rate"],
                "min_rate": demanded.min_rate,
                "invalid_rate": _invalid(row) / delivered,
                "max_invalid_rate": demanded.max_invalid_rate,
                "zero_rate": row["zero"] / delivered,
                "max_zero_rate": demanded.max_zero_rate,
            }
        )
    return rows


def _invalid(row: dict[str, Any]) -> int:
    return row["nan"] + row["wrong_width"]


def validate(rows: _ROW, larger: str, smaller: str, docs: Path) -> list[dict[str, Any]]:
    """Rows in which ``larger`` is below ``smaller``, found by Great Expectations.

    Args:
        rows: the aggregates.
        larger: the column that must not be below the other.
        smaller: the other column.
        docs: a folder for the Data Docs of this validation.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frame = pd.DataFrame(rows)
    batch = context.data_sources.add_pandas("report").add_dataframe_asset("coverage")
    definition = batch.add_batch_definition_whole_dataframe("modalities")
    suite = context.suites.add(gx.ExpectationSuite(name=f"{larger} at least {smaller}"))
    at_least = gxe.ExpectColumnPairValuesAToBeGreaterThanB  # pyright: ignore[reportPrivateImportUsage]
    suite.add_expectation(at_least(column_A=larger, column_B=smaller, or_equal=True))
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=f"{larger}_{smaller}", data=definition, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=f"{larger}_{smaller}",
            validation_definitions=[validation],
            actions=[UpdateDataDocsAction(name="docs")],
            result_format={"result_format": "COMPLETE"},
        )
    )
    _use_docs(context, docs)
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    (result,) = outcome.run_results.values()
    failing = result.results[0].result.get("unexpected_index_list") or []
    return [rows[index] for index in failing]


def _use_docs(context: Any, docs: Path) -> None:
    docs.mkdir(parents=True, exist_ok=True)
    for site in list(context.get_site_names() or []):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(
        site_name="local",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(docs.absolute()),
            },
        },
    )


def _check(name: str, description: str, larger: str, smaller: str, *, blocking: bool) -> Check:
    def judge(report: CoverageReport, workspace: Workspace) -> Verdict:
        rows = _rows(report, workspace)
        docs = workspace.home / "data_docs" / name
        failing = validate(rows, larger, smaller, docs)
        shown = [{key: row[key] for key in ("modality", larger, smaller)} for row in failing]
        named = (
            f"modality {row['modality']}: {larger} {row[larger]:.4f}, {smaller} {row[smaller]:.4f}"
            for row in shown
        )
        reason = f"{description} Failing: {'; '.join(named)}" if shown else description
        return Verdict(
            passed=not failing,
            reason=reason,
            metadata={
                "failing rows": dg.MetadataValue.md(table(shown)),
                "all rows": dg.MetadataValue.md(table(rows)),
                "data docs": dg.MetadataValue.path(str((docs / "index.html").absolute())),
            },
        )

    return Check(name=name, description=description, judge=judge, blocking=blocking)


COVERAGE_CHECKS = (
    _check(
        "enough_items_are_covered",
        "Every modality covers at least its share of all items (thresholds.*.min_rate).",
        "rate",
        "min_rate",
        blocking=True,
    ),
    _check(
        "vectors_are_valid",
        "NaN, infinite and wrong-width vectors stay within thresholds.*.max_invalid_rate.",
        "max_invalid_rate",
        "invalid_rate",
        blocking=True,
    ),
    _check(
        "zero_vectors_are_rare",
        "All-zero vectors stay within thresholds.*.max_zero_rate.",
        "max_zero_rate",
        "zero_rate",
        blocking=False,
    ),
)
