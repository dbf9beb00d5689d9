"""Rows of a study's table: columns, groups, CSV and Markdown."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """(n,) float64 values of one column."""
    return np.array([row[name] for row in rows], np.float64)


def grouped(rows: Sequence[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows with equal values of some columns, in the order of the values."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return dict(sorted(groups.items(), key=lambda one: one[0]))


def with_most_data(rows: Sequence[Row]) -> list[Row]:
    """The points that saw the largest share of the data."""
    largest = max(row["percent"] for row in rows)
    return [row for row in rows if row["percent"] == largest]


def write_csv(rows: Sequence[Row], file: Path) -> None:
    """Write rows of equal keys."""
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def as_markdown(rows: Sequence[Row]) -> str:
    """A table of rows of equal keys."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
