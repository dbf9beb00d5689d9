"""The report as DVC compares and plots it."""

from collections.abc import Mapping, Sequence
from typing import Any

STAGES = ("before", "after")
_COUNTS = ("conflicts", "conflict_rate", "unique_pairs")
_COLUMNS = (*_COUNTS, "mean_distance")


def headlines(report: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """A few numbers of every source, by its name."""
    return {
        row["source"]: {
            **losses(row),
            **{f"{name}_{stage}": row[stage][name] for name in _COUNTS for stage in STAGES},
            "drift": row["drift"],
            **{
                f"{name}_{number}": value
                for number, level in enumerate(row["levels"], 1)
                for name, value in _usage(level).items()
            },
            "neighbours_in_sid1": row["quality"]["neighborhood"]["sid1"]["recall@10"],
            "neighbours_in_vicinity": row["quality"]["neighborhood"]["vicinity"]["recall@10"],
            **_next_items(row["quality"]["cooccurrence"]),
        }
        for row in report
    }


def _next_items(cooccurrence: Mapping[str, Any] | None) -> dict[str, float]:
    """Of held-out transitions; nothing where none is held out."""
    found = cooccurrence or {}
    near = ("sid1", "vicinity")
    return {f"next_items_in_{name}": found[name]["share"] for name in near if name in found}


def _usage(level: Mapping[str, Any]) -> dict[str, float]:
    return {
        "used_share": level["used"] / level["size"],
        "gini": level["gini"],
        "entropy": level["entropy"],
    }


def losses(row: Mapping[str, Any]) -> dict[str, float]:
    """A source's ``loss1``, ``loss2`` and so on, one of each level."""
    return {name: row[name] for name in (f"loss{n}" for n in range(1, len(row["levels"]) + 1))}


def conflicts_csv(report: Sequence[Mapping[str, Any]]) -> str:
    """The paper's table 2 in the long form that plots want: a line per source and stage."""
    lines = [",".join(("bar", "source", "stage", *_COLUMNS))]
    for row in report:
        for stage in STAGES:
            numbers = [row[stage][name] for name in _COLUMNS]
            bar = f"{row['source']} {stage}"
            lines.append(",".join(map(str, [bar, row["source"], stage, *numbers])))
    return "\n".join(lines) + "\n"
