"""The study's figures, as PNG and SVG; markers and line styles differ, so that grey is enough."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.pictures import write_png
from model.scaling.costs import CostModel, frontier
from model.scaling.laws import BILLION
from model.scaling.rows import Row, column, grouped, with_most_data

if TYPE_CHECKING:
    from model.scaling.fits import Fit
    from model.scaling.study import Forecast, ScalingStudy

MARKERS = "osD^v<>ph*"
WIDTH, HEIGHT = 4.2, 3.4
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.2,
    "svg.hashsalt": "onepiece",  # the same figure is the same bytes
}
NUM_BUDGETS = 5
REACH = 2.0  # how far beyond the measured data lines of equal compute are drawn


def draw_figures(study: "ScalingStudy", folder: Path) -> None:
    """Write laws, frontier and quality, and iso-FLOP curves where size and data have a law."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        _write(folder / "laws", study.losses, lambda a, loss: _law(a, study, loss))
        _write(folder / "frontier", study.losses, lambda a, loss: _frontier(a, study, loss))
        _write(folder / "quality", ["hr@10", "ndcg@10"], lambda a, name: _quality(a, study, name))
        known = [loss for loss in study.losses if f"{loss} N,D" in study.fits]
        if known:
            _write(folder / "iso_flop", known, lambda a, loss: _iso_flop(a, study, loss))


def _write(file: Path, panels: Sequence[str], draw: Callable[[Any, str], None]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(WIDTH * len(panels), HEIGHT))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        draw(axis, panel)
        axis.xaxis.set_minor_formatter(NullFormatter())  # minor labels would overlap
    write_png(figure, file.with_suffix(".png"), dpi=150)
    figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})


def _law(axis: Any, study: "ScalingStudy", loss: str) -> None:
    """Final loss against size: points, law with its interval, and the forecast of the largest."""
    _points(axis, with_most_data(study.table), "parameters", loss)
    fit = study.fits.get(f"{loss} N")
    title = f"{loss}: too few sizes"
    if fit is not None:
        _curve(axis, fit, column(study.table, "parameters"))
        title = f"{loss}: {fit.verdict}" + (f"\n$R^2$ {fit.quality.r2:.3f}" if fit.holds else "")
    for one in study.forecasts:
        if one.loss == loss:
            _forecast(axis, one)
    axis.set(xscale="log", xlabel="non-embedding parameters", ylabel="final loss", title=title)
    axis.legend(fontsize=7)


def _curve(axis: Any, fit: "Fit", sizes: np.ndarray) -> None:
    x = np.geomspace(sizes.min() * 0.8, sizes.max() * 1.6, 80)
    at = x[:, None] / BILLION
    low, high = fit.interval(at, of_a_run=False)
    axis.fill_between(x, low, high, color="0.85", label=f"{fit.confidence:.0%} interval")
    axis.plot(x, fit.law(at), color="black", linestyle="-" if fit.holds else ":", label="fit")


def _forecast(axis: Any, one: "Forecast") -> None:
    below, above = one.expected - one.low, one.high - one.expected
    axis.errorbar(
        one.parameters * 1.12,
        one.expected,
        yerr=[[max(below, 0.0)], [max(above, 0.0)]],
        color="0.35",
        marker="x",
        linestyle="none",
        capsize=3,
        label="forecast without the largest",
    )


def _points(axis: Any, rows: Sequence[Row], x: str, y: str) -> None:
    """One marker per depth, hollow, so that seeds show through each other."""
    for number, ((layers,), group) in enumerate(grouped(rows, "layers").items()):
        axis.plot(
            column(group, x),
            column(group, y),
            linestyle="none",
            marker=MARKERS[number % len(MARKERS)],
            markerfacecolor="none",
            markeredgecolor="black",
            markersize=5,
            label=f"{layers} layer{'s' if layers != 1 else ''}",
        )


def _frontier(axis: Any, study: "ScalingStudy", loss: str) -> None:
    """Final loss against compute, with the Pareto frontier."""
    _points(axis, study.table, "flops", loss)
    best = frontier(study.table, loss)
    axis.step(
        column(best, "flops"), column(best, loss), where="post", color="0.4", label="frontier"
    )
    axis.set(xscale="log", xlabel="training FLOPs", ylabel="final loss", title=loss)
    axis.legend(fontsize=7)


def _iso_flop(axis: Any, study: "ScalingStudy", loss: str) -> None:
    """The law in size and data along lines of equal compute, with the best size of each."""
    fit = study.fits[f"{loss} N,D"]
    measured, flops = column(study.table, "parameters"), column(study.table, "flops")
    sizes = np.geomspace(measured.min() * 0.7, measured.max() * 3, 120)
    per_token = CostModel.of(study.table).flops_per_token(sizes)
    budgets = np.geomspace(flops.min(), flops.max() * 4, NUM_BUDGETS)
    tokens = column(study.table, "tokens")
    for number, budget in enumerate(budgets):
        seen = budget / per_token
        losses = fit.law(np.stack([sizes, seen], axis=1) / BILLION)
        losses[(seen < tokens.min() / REACH) | (seen > tokens.max() * REACH)] = np.nan
        if np.isnan(losses).all():
            continue
        shade = str(0.7 - 0.7 * number / (NUM_BUDGETS - 1))
        axis.plot(sizes, losses, color=shade, label=f"{budget:.1e} FLOPs")
        lowest = int(np.nanargmin(losses))
        drawn = np.flatnonzero(np.isfinite(losses))
        if drawn[0] < lowest < drawn[-1]:  # at an end it need not be the best size
            axis.plot(sizes[lowest], losses[lowest], marker="o", color=shade)
    title = f"{loss}: equal compute\n{fit.verdict}"
    axis.set(xscale="log", xlabel="non-embedding parameters", ylabel="expected loss", title=title)
    axis.legend(fontsize=7)


def _quality(axis: Any, study: "ScalingStudy", name: str) -> None:
    """Metrics on the full catalogue against size, one line per path."""
    sizes = grouped(with_most_data(study.table), "parameters")
    found = [key for key in study.table[0] if key.endswith(f"_{name}")]
    for number, key in enumerate(found):
        axis.plot(
            [size for (size,) in sizes],
            [column(rows, key).mean() for rows in sizes.values()],
            color=str(0.45 * number / max(len(found) - 1, 1)),
            marker=MARKERS[number],
            linestyle=("-", "--", ":")[number % 3],
            label=key.removesuffix(f"_{name}"),
        )
    axis.set(xscale="log", xlabel="non-embedding parameters", ylabel=name, title=name)
    axis.legend(fontsize=7)
