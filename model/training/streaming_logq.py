"""Streaming estimate of how often an item is among the negatives (Yi et al., RecSys 2019)."""

import torch
from torch import Tensor, nn

RATE = 0.05  # of the moving average of an item's interval between steps


class StreamingLogQ(nn.Module):
    """A moving average, per item, of the number of steps between two of its appearances."""

    step: Tensor
    last_step: Tensor
    interval: Tensor

    def __init__(self, num_rows: int) -> None:
        """Allocate the state of the ids 0..num_rows - 1."""
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last_step", torch.zeros(num_rows, dtype=torch.int64))
        self.register_buffer("interval", torch.zeros(num_rows))

    @torch.no_grad()
    def update(self, ids: Tensor) -> None:
        """Count (C,) int64 distinct ids of all processes' batch: their states stay equal."""
        self.step += 1
        seen = self.interval[ids]
        waited = (self.step - self.last_step[ids]).float()
        fresh = torch.where(seen > 0, (1 - RATE) * seen + RATE * waited, waited)
        self.interval[ids] = fresh
        self.last_step[ids] = self.step.expand(len(ids))

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tensor:
        """(C,) int64 ids -> (C,) float32 log probability that each of them is in a batch.

        An id that was never in one counts as the rarest: as if it appeared for the first time now.
        """
        interval = self.interval[ids]
        return -torch.where(interval > 0, interval, self.step).clamp(min=1.0).log()
