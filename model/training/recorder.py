"""Records the history of a training.

Each row holds means of losses over the steps since the last row, and the Gini of the last step.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.network.moe import SparseMoE
from model.training.history import History, history_columns
from model.training.order import Order

if TYPE_CHECKING:
    from model.params import LossParams

ROWS_PER_EPOCH = 20  # in addition to those of validations
FINAL_STEPS = 100  # the paper judges a training by the mean of its last hundred batches
FINAL_SHARE = 0.2  # of all steps, at most: a short training's last hundred include its descent


class Recorder:
    """Accumulates the loss terms of every step, and adds a row at intervals.

    Attributes:
        term_names: of the loss, in the order of ``Objective.forward``.
        columns: keys of every row.
        rows: so far.
        sums: (terms + 2,) float64 since the last row: terms, gradient norm, number of steps.
        newest: (up to FINAL_STEPS, terms) float64 of the newest steps.
    """

    def __init__(self, loss: "LossParams", experts: Sequence[SparseMoE], order: Order) -> None:
        levels = [f"sid{level}" for level, _ in enumerate(loss.sid_weights, 1)]
        self.term_names = ["infonce", *levels, "balance"]
        self.columns = history_columns(len(levels), len(experts))
        self.rows: History = []
        self.sums = torch.zeros(len(self.term_names) + 2, dtype=torch.float64)
        self.newest = torch.zeros(0, len(self.term_names), dtype=torch.float64)
        self._weights = [loss.infonce_weight, *loss.sid_weights, 1.0]
        self._experts, self._order = experts, order

    def add(self, terms: Tensor, norm: Tensor) -> dict[str, float]:
        """Add a finished step.

        Args:
            terms: (terms,) of the loss.
            norm: () of the gradient, before it was clipped.

        Returns:
            The terms by name.
        """
        values = terms.double().cpu()
        self.newest = torch.cat([self.newest[1 - FINAL_STEPS :], values[None]])
        self.sums[:-2] += values
        self.sums[-2] += float(norm)
        self.sums[-1] += 1
        return dict(zip(self.term_names, values.tolist(), strict=True))

    def is_due(self, step: int) -> bool:
        """Whether a row belongs after so many steps: a fixed number of times per epoch."""
        every = max(1, self._order.steps_per_epoch // ROWS_PER_EPOCH)
        return step % every == 0 or step == self._order.num_steps

    def record(self, step: int, learning_rate: float) -> None:
        """Add the means since the last row.

        Args:
            step: finished steps.
            learning_rate: of the last one, as a share of its peak.
        """
        count = max(float(self.sums[-1]), 1.0)
        terms = dict(zip(self.term_names, (self.sums[:-2] / count).tolist(), strict=True))
        ginis = {
            f"gini{layer}": float(experts.gini()) for layer, experts in enumerate(self._experts, 1)
        }
        values = {
            **terms,
            "loss": sum(w * v for w, v in zip(self._weights, terms.values(), strict=True)),
            "gradient_norm": float(self.sums[-2]) / count,
            "learning_rate": learning_rate,
            **ginis,
        }
        self.append(step, values)
        self.sums.zero_()

    def final_losses(self) -> dict[str, dict[str, float]]:
        """``mean`` and ``std`` of each term over the newest steps, and their number ``steps``.

        The share is of the steps run: early stopping may have left out most of the order's.
        """
        count = min(FINAL_STEPS, max(1, int(FINAL_SHARE * self.rows[-1]["step"])))
        newest = self.newest[-count:]
        means, spreads = newest.mean(dim=0), newest.std(dim=0, correction=0)
        return {
            name: {"mean": _short(mean), "std": _short(spread), "steps": len(newest)}
            for name, mean, spread in zip(
                self.term_names, means.tolist(), spreads.tolist(), strict=True
            )
        }

    def last(self, name: str) -> float | None:
        """The newest value of a column, None where it has none."""
        return next((row[name] for row in self.rows[::-1] if row[name] is not None), None)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row, or extend the one that this step has; six significant digits are kept."""
        if not self.rows or self.rows[-1]["step"] != step:
            epoch = round(step / self._order.steps_per_epoch, 4)
            self.rows.append(dict.fromkeys(self.columns) | {"step": step, "epoch": _short(epoch)})
        self.rows[-1].update({name: _short(value) for name, value in values.items()})


def _short(value: float) -> float:
    return float(f"{value:.6g}")
