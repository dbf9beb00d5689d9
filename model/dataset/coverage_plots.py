"""The coverage report's pictures; the same numbers give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.pictures import write_png

_GREEN, _GREY, _BLUE, _AMBER = "#2a8c5f", "#9aa0a6", "#3b6fb6", "#c58b2a"
_STATES = ("covered", "missing", "null", "zero", "nan", "wrong_width")
_MAX_BARS = 24
_MAX_TICKS = 8

Rows = Sequence[Mapping[str, Any]]


def plot_modality(
    name: str, row: Mapping[str, Any], popularity: Rows, over_time: Rows, norms: Rows, *, file: Path
) -> None:
    """States, coverage by part and popularity, over time, and the norms of one modality."""
    figure = Figure(figsize=(11, 6.4))
    (states, parts), (time, lengths) = figure.subplots(2, 2)
    _bars(states, _STATES, [row[state] / row["total"] for state in _STATES], _GREEN)
    states.set_title(f"modality {name}: {row['covered']:,} of {row['total']:,} items covered")
    labels = [
        "all",
        "traffic",
        "candidates",
        "cold",
        *(f"{band['events']} ev." for band in popularity),
    ]
    nested = [row[part]["rate"] for part in ("candidates", "cold_items")]
    rates = [row["rate"], row["traffic"]["events"], *nested, *(b["rate"] for b in popularity)]
    _bars(parts, labels, rates, _BLUE)
    parts.set_title("rate by part and by training events of the item")
    _draw_time(time, over_time)
    _draw_norms(lengths, norms)
    shared = f"{row['duplicate_items']:,} items share their vector exactly"
    lengths.set_title(f"norms of the vectors; {shared}" if norms else "no vectors")
    write_png(figure, file)


def plot_combinations(rows: Rows, file: Path) -> None:
    """Items by the set of modalities that covers them, the most common first."""
    shown = rows[:_MAX_BARS][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.26 * len(shown)))
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.barh(places + 0.2, [row["share"] or 0 for row in shown], 0.4, color=_GREEN, label="items")
    traffic = [row["traffic_share"] or 0 for row in shown]
    axes.barh(places - 0.2, traffic, 0.4, color=_AMBER, label="training events")
    axes.set_yticks(places, [row["modalities"] for row in shown], fontsize=8)
    axes.set_xlabel("share")
    axes.legend(frameon=False)
    write_png(figure, file)


def _bars(axes: Axes, labels: Sequence[str], rates: Sequence[float | None], color: str) -> None:
    bars = axes.bar(range(len(labels)), [rate or 0.0 for rate in rates], color=color)
    texts = ["-" if rate is None else f"{rate:.1%}" for rate in rates]
    axes.bar_label(bars, texts, padding=2, fontsize=7)
    axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", fontsize=8)
    axes.set_ylim(0, 1.1)


def _draw_time(axes: Axes, rows: Rows) -> None:
    axes.set_ylim(0, 1.05)
    if not rows:
        axes.set_title("no training events")
        return
    mondays = np.array([row["week"] for row in rows], "datetime64[D]")
    weeks = (mondays - mondays[0]).astype(int) // 7
    all_mondays = mondays[0] + 7 * np.arange(weeks[-1] + 1)  # a week without events leaves a gap
    for key, color, label in (
        ("rate", _AMBER, "of the week's events"),
        ("new_item_rate", _BLUE, "of the items first seen"),
    ):
        rates = np.full(len(all_mondays), np.nan)
        rates[weeks] = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot(all_mondays, rates, "o-", markersize=3, color=color, label=label)
    ticks = all_mondays[:: -(-len(all_mondays) // _MAX_TICKS)]
    axes.set_xticks(ticks, ticks.astype(str), rotation=35, ha="right", fontsize=8)
    axes.set_title("coverage by week (UTC)")
    axes.legend(frameon=False, fontsize=8)


def _draw_norms(axes: Axes, rows: Rows) -> None:
    if not rows:
        return
    starts = [row["from"] for row in rows]
    widths = [row["to"] - row["from"] for row in rows]
    axes.bar(starts, [row["items"] for row in rows], width=widths, align="edge", color=_GREY)
    axes.set_yscale("log")
    axes.locator_params(axis="x", nbins=5)
