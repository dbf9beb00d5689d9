"""The report as DVC compares and plots it."""

from collections.abc import Mapping, Sequence
from typing import Any

STAGES = ("before", "after")
_COLUMNS = ("conflicts", "conflict_rate", "unique_pairs", "mean_distance")


def headlines(report: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """A few numbers of every source, by its name."""
    return {
        row["source"]: {
            "loss1": row["loss1"],
            "loss2": row["loss2"],
            "conflict_rate_before": row["before"]["conflict_rate"],
            "conflict_rate_after": row["after"]["conflict_rate"],
            "drift": row["drift"],
            "used_share_1": row["levels"][0]["used"] / row["levels"][0]["size"],
            "neighbours_in_sid1": row["quality"]["neighborhood"]["sid1"]["recall@10"],
            "neighbours_in_vicinity": row["quality"]["neighborhood"]["vicinity"]["recall@10"],
        }
        for row in report
    }


def conflicts_csv(report: Sequence[Mapping[str, Any]]) -> str:
    """The paper's table 2 in the long form that plots want: a line per source and stage."""
    lines = [",".join(("bar", "source", "stage", *_COLUMNS))]
    for row in report:
        for stage in STAGES:
            numbers = [row[stage][name] for name in _COLUMNS]
            bar = f"{row['source']} {stage}"
            lines.append(",".join(map(str, [bar, row["source"], stage, *numbers])))
    return "\n".join(lines) + "\n"
