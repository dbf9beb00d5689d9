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


def plot_usage(codes: np.ndarray, sizes: Sequence[int], file: Path) -> None:
    """Items under each code of every level, most used first, beside an even spread.

    Args:
        codes: (N, L) from 1.
        sizes: codes of each level.
        file: to write.
    """
    figure = Figure(figsize=(4.2 * len(sizes), 3.4))
    panels = figure.subplots(1, len(sizes), squeeze=False)[0]
    for number, (axes, size) in enumerate(zip(panels, sizes, strict=True), 1):
        counts = np.sort(np.bincount(codes[:, number - 1] - 1, minlength=size))[::-1]
        axes.fill_between(np.arange(size), counts, step="mid", color=AFTER, alpha=0.8)
        axes.axhline(len(codes) / size, color=BEFORE, linestyle=":")
        axes.set_title(f"level {number}: {np.count_nonzero(counts)} of {size} codes used")
        axes.set_xlabel("code, most used first")
    panels[0].set_ylabel("items")
    write_png(figure, file)
