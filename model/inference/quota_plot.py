"""The plot of a study of quotas."""

from pathlib import Path
from typing import cast

import pandas as pd
from matplotlib.figure import Figure

from model.pictures import write_png


def plot_quotas(table: pd.DataFrame, file: Path) -> None:
    """Score and recall over users per second, one line per beam width and number of probes.

    Args:
        table: of :func:`~model.inference.quota.study_quotas`.
        file: to write.
    """
    figure = Figure(figsize=(10, 4))
    for axes, measure in zip(figure.subplots(1, 2), ("score", "recall"), strict=True):
        for key, rows in table.groupby(["path", "beam_width", "probes"], sort=True):
            path, width, probes = cast("tuple[str, int, int]", key)
            labels = {"cascade": f"beam {width}", "ivf": f"ivf, {probes} probes"}
            label = labels.get(path, path)
            style = "o-" if path == "cascade" else "s--"
            axes.plot(rows["users_per_second"], rows[measure], style, label=label)
            for _, row in rows.iterrows():
                point = (row["users_per_second"], row[measure])
                axes.annotate(str(row["num_items"]), point, fontsize=6)
        axes.set_xscale("log")
        axes.set_xlabel("users per second, without the encoder")
        axes.set_ylabel(measure)
    figure.axes[0].legend(frameon=False, fontsize=7)
    write_png(figure, file)
