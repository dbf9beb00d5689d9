"""Exponential moving average of weights, for evaluation and export."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.training.tensor_state import copy_state


class ExponentialMovingAverage:
    """Average of all parameters of a module, corrected for its start at zero.

    After n updates the average is sum_i decay^(n - i) w_i over sum_i decay^(n - i). An update
    reads every parameter, embedding tables too: on a GPU milliseconds even for the largest.

    Args:
        network: whose parameters are averaged, now or in its copies.
        decay: in [0, 1); an average over about 1 / (1 - decay) steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.sums = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self.updates = torch.zeros((), dtype=torch.int64)  # on the CPU, where reading is free

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Add the weights of a finished step to the average."""
        for name, weight in network.named_parameters():
            self.sums[name].lerp_(weight, 1.0 - self.decay)
        self.updates += 1

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Within the block the network holds its average; before any update, its own weights."""
        if not self.updates:
            yield
            return
        weights = {name: weight.detach() for name, weight in network.named_parameters()}
        kept = {name: weight.clone() for name, weight in weights.items()}
        share = 1.0 - self.decay ** int(self.updates)
        try:
            for name, weight in weights.items():
                torch.div(self.sums[name], share, out=weight)
            yield
        finally:
            for name, weight in weights.items():
                weight.copy_(kept[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Sums by parameter and ``updates``: the tensors themselves, no copies."""
        return {**self.sums, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Resume from a ``state_dict``.

        Raises:
            InputError: it is of another network.
        """
        copy_state(state, self.state_dict(), "the average of weights")
