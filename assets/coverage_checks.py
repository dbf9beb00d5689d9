"""What the coverage report must show before anything is trained: judged by Great Expectations.

Each check compares one measured share of every modality with the parameter file's threshold. A
failing one names the modality, both numbers and the items behind them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.checks import Check, Verdict
from assets.expectations import Row, failing_rows
from assets.report_metadata import page_address, table
from assets.workspace import Workspace
from model.dataset.coverage_report import CoverageReport
from model.params import CoverageThresholds

_NAMED = 20  # items in the sentence
_DATA_DOCS = ".data_docs"  # folder of Great Expectations' pages, in the data folder


@dataclass(frozen=True)
class _Demand:
    """A measured share and its threshold.

    Attributes:
        check: name of the check.
        description: one sentence.
        measured: column of the share.
        threshold: field of ``CoverageThresholds`` and column.
        blocking: whether the run stops.
        evidence: keys of ``CoverageReport.samples`` that show the items in question.
    """

    check: str
    description: str
    measured: str
    threshold: str
    blocking: bool
    evidence: tuple[str, ...]

    @property
    def larger_and_smaller(self) -> tuple[str, str]:
        """The columns of which the first must not be below the second."""
        if self.threshold.startswith("min_"):
            return self.measured, self.threshold
        return self.threshold, self.measured


_DEMANDS = (
    _Demand(
        "enough_items_are_covered",
        "Every modality covers at least the required share of all items (thresholds.*.min_rate).",
        "rate",
        "min_rate",
        True,
        ("missing", "null", "zero", "nan", "wrong_width"),
    ),
    _Demand(
        "enough_candidates_are_covered",
        "Every modality covers at least the required share of the candidates "
        "(thresholds.*.min_candidate_rate).",
        "candidate_rate",
        "min_candidate_rate",
        True,
        ("uncovered_candidates",),
    ),
    _Demand(
        "enough_traffic_is_covered",
        "Every modality covers the items of at least the required share of all training events "
        "(thresholds.*.min_traffic_rate).",
        "traffic_rate",
        "min_traffic_rate",
        True,
        ("hottest_uncovered",),
    ),
    _Demand(
        "vectors_are_valid",
        "NaN, infinite and wrong-width vectors stay within thresholds.*.max_invalid_rate.",
        "invalid_rate",
        "max_invalid_rate",
        True,
        ("nan", "wrong_width"),
    ),
    _Demand(
        "zero_vectors_are_rare",
        "All-zero vectors stay within thresholds.*.max_zero_rate.",
        "zero_rate",
        "max_zero_rate",
        False,
        ("zero",),
    ),
    _Demand(
        "equal_vectors_are_rare",
        "Items that share their vector with another stay within thresholds.*.max_duplicate_rate.",
        "duplicate_rate",
        "max_duplicate_rate",
        False,
        ("largest_duplicate_groups",),
    ),
)


def judged_rows(report: CoverageReport, thresholds: Mapping[str, CoverageThresholds]) -> list[Row]:
    """One row per modality: what was measured beside what is demanded."""
    rows = []
    for name, row in report.modalities.items():
        invalid = row["nan"] + row["wrong_width"]
        delivered = max(1, row["covered"] + row["null"] + row["zero"] + invalid)
        measured = {
            "modality": name,
            "covered": row["covered"],
            "total": row["total"],
            "rate": row["rate"],
            "candidate_rate": row["candidates"]["rate"],
            "traffic_rate": row["traffic"]["events"],
            "invalid": invalid,
            "invalid_rate": invalid / delivered,
            "zero": row["zero"],
            "zero_rate": row["zero"] / delivered,
            "duplicate_rate": row["duplicate_rate"],
        }
        rows.append(measured | thresholds.get(name, thresholds["default"]).model_dump())
    return rows


def _check(demand: _Demand) -> Check:
    larger, smaller = demand.larger_and_smaller

    def judge(report: CoverageReport, workspace: Workspace) -> Verdict:
        every = judged_rows(report, workspace.params.coverage_report.thresholds)
        rows = [row for row in every if row[demand.measured] is not None]
        if not rows:
            reason = f"{demand.description} Nothing to judge: no modality has this share."
            return Verdict(passed=True, reason=reason, metadata={})
        docs = workspace.data / _DATA_DOCS / demand.check
        failing = failing_rows(rows, larger, smaller, docs)
        items = [
            {"modality": row["modality"], "item": item, "why": why}
            for row in failing
            for item, why in _evidence(report, row["modality"], demand.evidence)
        ]
        sentences = [_sentence(row, demand, items) for row in failing]
        return Verdict(
            passed=not failing,
            reason=" ".join([demand.description, *sentences]),
            metadata={
                "failing rows": dg.MetadataValue.md(table(failing)),
                "items": dg.MetadataValue.md(table(items)),
                "all rows": dg.MetadataValue.md(table(rows)),
                "data docs": dg.MetadataValue.url(
                    page_address(docs / "index.html", workspace.data)
                ),
            },
        )

    return Check(
        name=demand.check, description=demand.description, judge=judge, blocking=demand.blocking
    )


def _evidence(report: CoverageReport, modality: str, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Raw ids and what is wrong with them."""
    samples = report.samples[modality]
    return [_described(sample, key) for key in keys for sample in samples.get(key, [])]


def _described(sample: Any, key: str) -> tuple[str, str]:
    if key == "hottest_uncovered":
        return sample["id"], f"uncovered, {sample['events']:,} events"
    if key == "largest_duplicate_groups":
        return ", ".join(sample["ids"]), f"{sample['items']:,} items share one vector"
    return sample, key.replace("_", " ")


def _sentence(row: Row, demand: _Demand, items: Sequence[Row]) -> str:
    named = [one["item"] for one in items if one["modality"] == row["modality"]][:_NAMED]
    measured, demanded = _told_apart(row[demand.measured], row[demand.threshold])
    return (
        f"Modality {row['modality']}: {demand.measured} is {measured}, {demand.threshold} "
        f"{demanded} ({row['covered']:,} of {row['total']:,} items covered, {row['invalid']:,} "
        f"invalid, {row['zero']:,} zero). First items: {', '.join(named) or 'none'}."
    )


def _told_apart(share: float, other: float) -> tuple[str, str]:
    """Format two different shares with four decimals, or as many as it takes to tell them apart."""
    digits = next((n for n in range(4, 17) if f"{share:.{n}f}" != f"{other:.{n}f}"), 17)
    return f"{share:.{digits}f}", f"{other:.{digits}f}"


COVERAGE_CHECKS = tuple(_check(demand) for demand in _DEMANDS)
