"""The record of a training for inspection: a table, a plot and TensorBoard events."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.pictures import write_png

History = list[dict[str, Any]]

LOSSES_PLOTTED = ("loss", "infonce")


def history_columns(num_levels: int, num_expert_layers: int) -> list[str]:
    """The keys of every row, in order.

    Args:
        num_levels: of the semantic IDs that are trained.
        num_expert_layers: layers with routed experts; each has its Gini of loads.
    """
    levels = [f"sid{level}" for level in range(1, num_levels + 1)]
    ginis = [f"gini{layer}" for layer in range(1, num_expert_layers + 1)]
    return [
        "step",
        "epoch",
        "loss",
        "infonce",
        *levels,
        "balance",
        "gradient_norm",
        "learning_rate",
        *ginis,
        "hr@10",
        "ndcg@10",
    ]


def write_history(history: History, columns: Sequence[str], folder: Path) -> None:
    """Write history.csv and curves.png into an existing folder."""
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    _plot(history, columns, folder / "curves.png")


def write_events(history: History, folder: Path) -> None:
    """Write the rows as TensorBoard events; earlier ones in the folder are replaced."""
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in history:
            for name, value in row.items():
                if name not in ("step", "epoch") and value is not None:
                    writer.add_scalar(name, value, row["step"])


def _plot(history: History, columns: Sequence[str], path: Path) -> None:
    from matplotlib.figure import Figure

    names = [*LOSSES_PLOTTED, *(name for name in columns if name.startswith("sid"))]
    ginis = [name for name in columns if name.startswith("gini")]
    panels: list[tuple[str, Sequence[str]]] = [
        ("loss", names),
        ("validation", ("hr@10", "ndcg@10")),
        ("Gini of the experts' loads", ginis),
    ]
    shown = [(title, keys) for title, keys in panels if any(_points(history, k) for k in keys)]
    figure = Figure(figsize=(4.5 * len(shown), 3.2))
    panes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, (title, keys) in zip(panes, shown, strict=True):
        for key in keys:
            points = _points(history, key)
            if points:
                axis.plot(
                    *zip(*points, strict=True), label=key, marker="." if len(points) < 30 else ""
                )
        axis.set(title=title, xlabel="step")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    write_png(figure, path, dpi=90)


def _points(history: History, key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in history if row.get(key) is not None]
