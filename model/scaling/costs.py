"""What a model of a given size costs on the machine that the points ran on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls

from model.scaling.rows import Row, column


@dataclass(frozen=True)
class CostModel:
    """Costs per token, fitted on the points of a study.

    Attributes:
        slope: of the logarithm of FLOPs per token over that of the parameters.
        intercept: of the same line.
        overhead: seconds of one device per token, independent of the size.
        seconds_per_flop: of one device.
        device: which one.
    """

    slope: float
    intercept: float
    overhead: float
    seconds_per_flop: float
    device: str

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Self:
        """Fit the costs; times are of points on the device that ran the largest point."""
        per_token = column(rows, "flops") / column(rows, "tokens")
        slope, intercept = _line(np.log(column(rows, "parameters")), np.log(per_token))
        device = max(rows, key=lambda row: row["parameters"])["device"]
        same = [place for place, row in enumerate(rows) if row["device"] == device]
        seconds = (column(rows, "processes") / column(rows, "tokens_per_second"))[same]
        # Relative errors, so that the small points count as much as the large.
        parts = np.stack([np.ones(len(same)), per_token[same]], axis=1) / seconds[:, None]
        (overhead, per_flop), _ = nnls(parts, np.ones(len(same)))
        return cls(slope, intercept, float(overhead), float(per_flop), device)

    def flops_per_token(self, parameters: np.ndarray) -> np.ndarray:
        """FLOPs per token of models with so many parameters."""
        return np.exp(self.intercept + self.slope * np.log(parameters))

    def seconds_per_token(self, flops_per_token: float) -> float:
        """Seconds of one device per token."""
        return self.overhead + self.seconds_per_flop * flops_per_token


def frontier(rows: Sequence[Row], loss: str) -> list[Row]:
    """The Pareto frontier of a loss and FLOPs, cheapest first."""
    ordered = sorted(rows, key=lambda row: (row["flops"], row[loss]))
    best = np.minimum.accumulate(column(ordered, loss))
    return [row for row, lowest in zip(ordered, best, strict=True) if row[loss] <= lowest]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept; with a single size, the slope is taken to be one."""
    if len(np.unique(x)) < 2:
        return 1.0, float((y - x).mean())
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)
