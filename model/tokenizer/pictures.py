"""The codebook's pictures; the same numbers give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from model.pictures import write_png

BEFORE, AFTER = "#9aa0a6", "#2a8c5f"


def plot_conflicts(report: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Conflict rate of every source, before and after re-assignment."""
    figure = Figure(figsize=(max(5.0, 1.1 * len(report) + 2.0), 3.6))
    axes = figure.subplots()
    places = np.arange(len(report))
    for shift, when, color in ((-0.2, "before", BEFORE), (0.2, "after", AFTER)):
        rates = [row[when]["conflict_rate"] for row in report]
        bars = axes.bar(places + shift, rates, width=0.38, color=color, label=when)
        axes.bar_label(bars, [f"{rate:.1%}" for rate in rates], fontsize=7, padding=2)
    axes.set_xticks(places, [row["source"] for row in report], rotation=20)
    axes.set_ylabel("conflicts / items")
    axes.set_ylim(0.0, 1.08)
    axes.legend(frameon=False)
    write_png(figure, file)


def plot_usage(report: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Items under each code, most used first: a row per source, a column per level.

    Codes before re-assignment as an area (the nearest ones, or those of balanced clusters), codes
    after it as a line, beside an even spread.
    """
    balanced = report[-1]["method"] == "balanced_residual_kmeans"
    first = "codes after balancing" if balanced else "nearest codes"
    sizes = [level["size"] for level in report[-1]["levels"]]
    figure = Figure(figsize=(4.6 * len(sizes), 2.6 * len(report) + 0.6))
    panels = figure.subplots(len(report), len(sizes), squeeze=False)
    for row, of_source in zip(report, panels, strict=True):
        for number, (axes, usage) in enumerate(zip(of_source, row["usage"], strict=True), 1):
            size, before, after = sizes[number - 1], usage["before"], usage["after"]
            edges = np.linspace(0, size, len(before["bars"]) + 1)
            axes.stairs(before["bars"], edges, fill=True, color=BEFORE, label=first)
            axes.stairs(after["bars"], edges, color=AFTER, label="after re-assignment")
            axes.axhline(row["items"] / size, color="black", linestyle=":", linewidth=0.8)
            axes.set_title(
                f"{row['source']}, level {number}: of {size} codes {before['used']} used, "
                f"{after['used']} after",
                fontsize=8,
            )
            axes.set_xlim(0, size)
            axes.set_ylim(bottom=0)
        of_source[0].set_ylabel("items")
    for axes in panels[-1]:
        axes.set_xlabel("code, most used first")
    panels[0, -1].legend(frameon=False, fontsize=7)
    write_png(figure, file)
