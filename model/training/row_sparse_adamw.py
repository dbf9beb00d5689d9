"""AdamW for embedding tables that touches only the rows of the batch.

A row that is not in the batch keeps its weights and its moments, at no cost. Bias correction counts
a row's own updates: the n-th update of a row is the n-th step of an AdamW that has seen nothing but
that row's gradients. With a shared count a row first seen late would combine the moments of one
gradient with the correction of many, a step several times too long, which would harm rare items.
Weight decay, too, applies to touched rows only. Row 0 is padding and never changes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class RowSparseAdamW:
    """AdamW over named tables with sparse COO gradients.

    Args:
        tables: name -> (rows, dim) parameter.
        betas: decay of the first and of the second moment.
        eps: added to the root of the second moment.
        weight_decay: per update of a row, times the learning rate.
    """

    def __init__(
        self,
        tables: dict[str, nn.Parameter],
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        self.tables = tables
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.exp_avg = {name: torch.zeros_like(table) for name, table in tables.items()}
        self.exp_avg_sq = {name: torch.zeros_like(table) for name, table in tables.items()}
        self.updates = {
            name: torch.zeros(len(table), dtype=torch.int32, device=table.device)
            for name, table in tables.items()
        }

    @torch.no_grad()
    def step(self, lr: float, rates: Mapping[str, float]) -> None:
        """Update the rows of the gradients, at ``lr`` times their table's rate, 1 where unnamed.

        Raises:
            TypeError: a dense gradient, which would touch every row.
        """
        for name, table in self.tables.items():
            if table.grad is None:
                continue
            if table.grad.layout != torch.sparse_coo:
                raise TypeError(f"{name} has a dense gradient; make its embedding with sparse=True")
            grad = table.grad.coalesce()
            self._update(name, grad.indices()[0], grad.values(), lr * rates.get(name, 1.0))

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and counts of every table: the tensors themselves, no copies."""
        parts = ("exp_avg", "exp_avg_sq", "updates")
        return {
            f"{name}.{part}": getattr(self, part)[name] for name in self.tables for part in parts
        }

    def _update(self, name: str, rows: Tensor, grad: Tensor, lr: float) -> None:
        """Gather the state of the rows, step, scatter it back; the rows are distinct."""
        beta1, beta2 = self.betas
        exp_avg = self.exp_avg[name].index_select(0, rows).lerp_(grad, 1.0 - beta1)
        exp_avg_sq = self.exp_avg_sq[name].index_select(0, rows)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1.0 - beta2)
        updates = self.updates[name].index_select(0, rows).add_(1)
        self.exp_avg[name].index_copy_(0, rows, exp_avg)
        self.exp_avg_sq[name].index_copy_(0, rows, exp_avg_sq)
        self.updates[name].index_copy_(0, rows, updates)

        count = updates.to(grad.dtype)[:, None]
        root = (exp_avg_sq / (1.0 - beta2**count)).sqrt_().add_(self.eps)
        direction = exp_avg.div_(1.0 - beta1**count).div_(root)
        weights = self.tables[name].index_select(0, rows)
        moved = weights * (1.0 - lr * self.weight_decay) - lr * direction
        self.tables[name].index_copy_(0, rows, torch.where(rows[:, None] == 0, weights, moved))
