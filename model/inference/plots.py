"""The evaluation's plots; the same numbers give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from model.pictures import write_png

COLORS = ("#9aa0a6", "#c58b2a", "#3b6fb6", "#8a56a8", "#2a8c5f")
MOST_LABELS = 12  # per panel; more would overlap


def plot_paths(metrics: Mapping[str, Any], paths: Sequence[str], file: Path) -> None:
    """HR@10, NDCG@10 and the score of every path, with 95 % intervals."""
    figure = Figure(figsize=(9, 3.6))
    for axes, name in zip(figure.subplots(1, 3), ("hr@10", "ndcg@10", "score"), strict=True):
        values = np.array([metrics[path].get(name, np.nan) for path in paths])
        ends = np.array([metrics[path]["ci95"].get(name, [np.nan] * 2) for path in paths])
        spread = np.maximum(np.abs(ends.T - values), 0.0)
        axes.bar(range(len(paths)), values, yerr=spread, color=COLORS, capsize=3)
        axes.set_xticks(range(len(paths)), paths, rotation=35, ha="right")
        axes.set_title(name)
    write_png(figure, file)


def plot_cutoffs(metrics: Mapping[str, Any], paths: Sequence[str], file: Path) -> None:
    """Hit rate over the length of the list."""
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    first = metrics[paths[0]]
    cutoffs = sorted(int(name[3:]) for name in first if name.startswith("hr@"))
    for path, color in zip(paths, COLORS, strict=True):
        axes.plot(cutoffs, [metrics[path][f"hr@{k}"] for k in cutoffs], "o-", color=color)
    axes.set_xscale("log")
    axes.set_xticks(cutoffs, [str(k) for k in cutoffs])
    axes.set_xlabel("k")
    axes.set_ylabel("hit rate at k")
    axes.legend(paths, frameon=False)
    write_png(figure, file)


def plot_losses(losses: Mapping[str, Mapping[str, float]], file: Path) -> None:
    """The share of each fate of the targets in the cascade."""
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    names = list(losses)[::-1]
    shares = [losses[name]["share"] for name in names]
    colors = [COLORS[4] if name.startswith("hit") else COLORS[0] for name in names]
    bars = axes.barh(range(len(names)), shares, color=colors)
    axes.bar_label(bars, [f"{share:.1%}" for share in shares], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlabel("share of the weight")
    axes.set_xlim(0, max(shares) * 1.15)
    write_png(figure, file)


def plot_breakdowns(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """NDCG@10 of every path by group with 95 % intervals, one panel per division of the users."""
    divisions = list(dict.fromkeys(row["division"] for row in rows))
    paths = list(dict.fromkeys(row["path"] for row in rows))
    figure = Figure(figsize=(3.2 * len(divisions), 3.6))
    for axes, division in zip(
        figure.subplots(1, len(divisions), squeeze=False)[0], divisions, strict=True
    ):
        inside = [row for row in rows if row["division"] == division]
        groups = list(dict.fromkeys(row["group"] for row in inside))
        for number, (path, color) in enumerate(zip(paths, COLORS, strict=False)):
            own = [row for row in inside if row["path"] == path]
            points = np.array([row["ndcg@10"] for row in own], np.float64)  # None becomes NaN
            ends = [row["ci95"]["ndcg@10"] or (np.nan, np.nan) for row in own]
            low, high = np.array(ends).T
            axes.errorbar(
                np.arange(len(groups)) + 0.1 * (number - len(paths) // 2),  # beside each other
                points,
                yerr=np.maximum([points - low, high - points], 0.0),
                fmt="o-",
                markersize=3,
                elinewidth=0.8,
                color=color,
                label=path,
            )
        step = -(-len(groups) // MOST_LABELS)
        axes.set_xticks(
            range(0, len(groups), step), groups[::step], rotation=45, ha="right", fontsize=7
        )
        axes.set_title(division.replace("_", " "), fontsize=9)
    figure.axes[0].set_ylabel("NDCG@10")
    figure.axes[-1].legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    write_png(figure, file)


def plot_tuning(rows: Sequence[Mapping[str, float]], chosen: float, file: Path) -> None:
    """NDCG@10 of validation users over the weight of the beam."""
    figure = Figure(figsize=(6, 3.6))
    axes = figure.subplots()
    weights = [row["beam_weight"] for row in rows]
    axes.plot(weights, [row["ndcg@10"] for row in rows], "o-", color=COLORS[4])
    axes.axvline(chosen, color=COLORS[0], linestyle=":")
    axes.set_xscale("symlog", linthresh=0.003)
    axes.set_xlabel("weight of the semantic ID's log-probability")
    axes.set_ylabel("NDCG@10, validation users")
    write_png(figure, file)
