"""The report as DVC compares and plots it."""

from collections.abc import Mapping, Sequence
from typing import Any

STAGES = ("before", "after")
_COUNTS = ("conflicts", "conflict_rate", "unique_pairs", "over_capacity")
_COLUMNS = (*_COUNTS, "mean_distance")


def headlines(report: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """A few numbers of every source, by its name."""
    return {
        row["source"]: {
            **losses(row),
            **{f"{name}_{stage}": row[stage][name] for name in _COUNTS for stage in STAGES},
            "drift": row["drift"],
            **{
                f"{name}{number}": value
                for number, level in enumerate(row["levels"], 1)
                for name, value in _usage(level).items()
            },
            **_beside_chance("neighbors", row["quality"]["neighborhood"], "recall@10"),
            **_beside_chance("next_items", row["quality"]["cooccurrence"], "share"),
            **_growth(row.get("growth", {})),
        }
        for row in report
    }


def _beside_chance(what: str, found: Mapping[str, Any] | None, name: str) -> dict[str, float]:
    """A share and that of chance; nothing where no transition is held out."""
    if found is None:
        return {}
    shares = {}
    for near in ("sid1", "vicinity"):
        shares[f"{what}_in_{near}"] = found[near][name]
        shares[f"{what}_in_{near}_by_chance"] = found[near]["chance"]
    return shares


def _usage(level: Mapping[str, Any]) -> dict[str, float]:
    return {
        "used_share": level["used"] / level["size"],
        "gini": level["gini"],
        "entropy": level["entropy"],
    }


def _growth(growth: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an extension, without names and without distances that are not measured."""
    return {
        f"growth_{name}": value for name, value in growth.items() if isinstance(value, int | float)
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
