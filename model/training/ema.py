"""Exponential moving average of weights, for evaluation and export."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Average of named parameters, corrected for its start at zero.

    After n updates the average is sum_i decay^(n - i) w_i over sum_i decay^(n - i). Every update
    reads every parameter, so leave large embedding tables out.

    Args:
        parameters: name -> parameter.
        decay: in [0, 1); an average over about 1 / (1 - decay) steps.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = dict(parameters), decay
        self.sums = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.updates = torch.zeros((), dtype=torch.int64)  # on the CPU: reading it waits for nothing

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of a finished step."""
        weights = list(self.parameters.values())
        torch._foreach_lerp_(list(self.sums.values()), weights, 1.0 - self.decay)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Let the parameters hold their averages within the block; before any update, themselves."""
        if not self.updates:
            yield
            return
        weights = [parameter.data for parameter in self.parameters.values()]
        kept = [weight.clone() for weight in weights]
        averages = torch._foreach_div(
            list(self.sums.values()), 1.0 - self.decay ** int(self.updates)
        )
        torch._foreach_copy_(weights, averages)
        try:
            yield
        finally:
            torch._foreach_copy_(weights, kept)

    def state_dict(self) -> dict[str, Tensor]:
        """``<name>`` of every parameter and ``updates``: the tensors themselves, no copies."""
        return {**self.sums, "updates": self.updates}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state_dict``."""
        copy_state(state, self.state_dict())
