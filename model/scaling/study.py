"""All points of one protocol: their table, the laws of their losses, and a hold-out forecast.

The forecast is the test that matters for planning: the largest size is left out, its losses are
predicted from the others, and the measured losses must lie within the predicted intervals.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from model.artifact import atomic_folder, read_json, write_json
from model.errors import InputError
from model.params import ScalingStudyParams
from model.scaling.figures import draw_figures
from model.scaling.fits import NO_LAW, Fit, fit_losses
from model.scaling.laws import BILLION
from model.scaling.point import ScalingPoint, Workload
from model.scaling.rows import Row, as_markdown, column, grouped, with_most_data, write_csv

logger = logging.getLogger("onepiece")

SIZE, DATA = "N", "D"
FACTS = "study.json"
VALIDATION = "validation_"


@dataclass(frozen=True)
class Forecast:
    """One loss of the largest size, predicted from the smaller ones.

    Attributes:
        loss: its name.
        parameters: of the size that was left out.
        expected: by the law.
        low: lower end of the interval.
        high: upper end.
        measured: mean over the seeds.
    """

    loss: str
    parameters: int
    expected: float
    low: float
    high: float
    measured: float

    @property
    def inside(self) -> bool:
        """Whether the interval holds what was measured."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class ScalingStudy:
    """The study of one protocol.

    Attributes:
        protocol: its name.
        table: one row per point, see :meth:`ScalingPoint.row`.
        workload: of a step; the same for all points but for random sampling.
        fits: by loss and variables: ``infonce N``, ``infonce N,D``, ``validation_infonce N``, ...
        skipped: why a law is missing, by the same keys.
        forecasts: one per training loss.
    """

    protocol: str
    table: list[dict[str, Any]]
    workload: Workload
    fits: Mapping[str, Fit]
    skipped: Mapping[str, str]
    forecasts: Sequence[Forecast]

    @property
    def losses(self) -> list[str]:
        """Names of the training losses."""
        return [name for name in self.table[0] if f"{name}_std" in self.table[0]]

    def summary(self) -> str:
        """The findings, in Markdown."""
        laws = [
            f"| {key} | {fit.verdict} | {_numbers(fit)} | {fit.quality.r2:.4f} | "
            f"{fit.p_value:.2g} |"
            for key, fit in sorted(self.fits.items())
        ]
        forecasts = [
            f"| {one.loss} | {one.parameters:,} | {one.expected:.4f} | {one.low:.4f} to "
            f"{one.high:.4f} | {one.measured:.4f} | {'yes' if one.inside else 'NO'} |"
            for one in self.forecasts
        ]
        skipped = [f"- {key}: {reason}" for key, reason in sorted(self.skipped.items())]
        return "\n".join(
            [
                f"# Scaling study, {self.protocol}",
                "",
                "Sizes N (parameters outside embedding tables) and data D (tokens seen) in "
                "billions; R^2 of the loss itself.",
                "",
                "| loss and variables | verdict | law, with intervals | R^2 | p (constant) |",
                "| --- | --- | --- | --- | --- |",
                *laws,
                "",
                "The largest size, predicted from the smaller ones:",
                "",
                "| loss | left out | expected | interval | measured | inside |",
                "| --- | --- | --- | --- | --- | --- |",
                *forecasts,
                "",
                *skipped,
            ]
        )

    def save(self, folder: Path) -> None:
        """Write study.json, table.csv, table.md, summary.md and the figures."""
        with atomic_folder(folder, needed_bytes=20_000_000) as out:
            facts = {
                "protocol": self.protocol,
                "columns": list(self.table[0]),
                "rows": [list(row.values()) for row in self.table],
                "workload": asdict(self.workload),
                "fits": {key: fit.to_json() for key, fit in self.fits.items()},
                "skipped": dict(self.skipped),
                "forecasts": [asdict(one) for one in self.forecasts],
            }
            write_json(out / FACTS, facts)
            write_csv(self.table, out / "table.csv")
            (out / "table.md").write_text(as_markdown(self.table), encoding="utf-8")
            (out / "summary.md").write_text(self.summary(), encoding="utf-8")
            draw_figures(self, out)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: missing or damaged, with the file's name.
        """
        facts = read_json(Path(folder) / FACTS)
        try:
            return cls(
                protocol=facts["protocol"],
                table=[dict(zip(facts["columns"], row, strict=True)) for row in facts["rows"]],
                workload=Workload(**facts["workload"]),
                fits={key: Fit.from_json(one) for key, one in facts["fits"].items()},
                skipped=facts["skipped"],
                forecasts=[Forecast(**one) for one in facts["forecasts"]],
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{Path(folder) / FACTS}: of another version of the code ({error}); make the study "
                "again"
            ) from None


def build_study(
    protocol: str, points: Mapping[str, ScalingPoint], params: ScalingStudyParams, seed: int
) -> ScalingStudy:
    """Fit everything that the points of a protocol allow.

    Args:
        protocol: whose points are taken.
        points: of all protocols, by name.
        params: of the study.
        seed: of the bootstrap.

    Raises:
        InputError: too few points for any law.
    """
    own = [one for one in points.values() if one.point.protocol == protocol]
    table = [one.row() for one in own]
    fits: dict[str, Fit] = {}
    skipped: dict[str, str] = {}

    def fit(key: str, rows: Sequence[Row], loss: str, variables: Sequence[str]) -> None:
        try:
            fits[f"{loss} {key}"] = _fit(rows, loss, variables, params, seed)
        except InputError as error:
            skipped[f"{loss} {key}"] = str(error)

    whole, shape = with_most_data(table), _shape_with_most_data(table)
    losses = list(own[0].losses)
    for loss in losses:
        fit("N", whole, loss, [SIZE])
        fit("D", shape, loss, [DATA])
        fit("N,D", table, loss, [SIZE, DATA])
    for loss in own[0].validation_losses:
        fit("N", whole, f"{VALIDATION}{loss}", [SIZE])
    if not fits:
        raise InputError(next(iter(skipped.values())))
    forecasts = [
        found
        for loss in losses
        if (found := leave_largest_out(whole, loss, params, seed)) is not None
    ]
    study = ScalingStudy(protocol, table, own[0].workload, fits, skipped, forecasts)
    logger.info("%s", study.summary())
    return study


def leave_largest_out(
    rows: Sequence[Row], loss: str, params: ScalingStudyParams, seed: int
) -> Forecast | None:
    """Predict a loss of the largest size from the others; None where too few are left."""
    largest = max(row["parameters"] for row in rows)
    rest = [row for row in rows if row["parameters"] < largest]
    left_out = [row for row in rows if row["parameters"] == largest]
    try:
        fit = _fit(rest, loss, [SIZE], params, seed)
    except InputError:
        return None
    at = np.array([[largest / BILLION]])
    low, high = fit.interval(at, of_a_run=True)
    return Forecast(
        loss=loss,
        parameters=largest,
        expected=float(fit.law(at)[0]),
        low=float(low[0]),
        high=float(high[0]),
        measured=float(column(left_out, loss).mean()),
    )


def _fit(
    rows: Sequence[Row], loss: str, variables: Sequence[str], params: ScalingStudyParams, seed: int
) -> Fit:
    return fit_losses(
        variables_of(rows, variables),
        column(rows, loss),
        variables,
        levels=levels_of(rows, variables),
        samples=params.bootstrap_samples,
        confidence=params.confidence,
        seed=seed,
    )


def variables_of(rows: Sequence[Row], variables: Sequence[str]) -> np.ndarray:
    """(n, k) float64 sizes and tokens of some rows, in billions."""
    names = {SIZE: "parameters", DATA: "tokens"}
    return np.stack([column(rows, names[name]) for name in variables], axis=1) / BILLION


def levels_of(rows: Sequence[Row], variables: Sequence[str]) -> np.ndarray:
    """(n, k) float64 sizes and shares of the users, which are the same for all seeds."""
    names = {SIZE: "parameters", DATA: "percent"}
    return np.stack([column(rows, names[name]) for name in variables], axis=1)


def _shape_with_most_data(rows: Sequence[Row]) -> list[Row]:
    """The points of the shape with the most different shares of users; ties to the largest."""
    shapes = grouped(rows, "parameters", "layers", "width", "experts")

    def shares(shape: tuple[int, ...]) -> int:
        return len({row["percent"] for row in shapes[shape]})

    return shapes[max(shapes, key=lambda shape: (shares(shape), shape))]


def _numbers(fit: Fit) -> str:
    if fit.verdict == NO_LAW:
        return ""
    bounds = fit.bounds()
    return ", ".join(
        f"{name} {value:.4g} ({bounds[name][0]:.4g} to {bounds[name][1]:.4g})"
        for name, value in fit.numbers().items()
    )
