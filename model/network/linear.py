"""The network's linear layers: on a CPU by our own tiled kernels where these beat PyTorch.

``Linear`` has the names, shapes and state of ``nn.Linear``; ``linear`` is its functional form.
tests/benchmarks/bench_linear.py prints the rates of both ways.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.backend import backend_for

NARROWEST = 128  # below it PyTorch is about as fast
FEWEST_PRODUCTS = 1 << 26  # below it, copies and calls cost what the tiles gain


class Linear(nn.Linear):
    """As ``nn.Linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X times the weight transposed, plus the bias; differentiable once in all three.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (..., out).
    """
    if _suits_tiles(x, weight):
        from model.network.linear_cpu import tiled_linear

        return tiled_linear(x, weight, bias)
    return F.linear(x, weight, bias)


def _suits_tiles(x: Tensor, weight: Tensor) -> bool:
    return (
        all(size % NARROWEST == 0 for size in weight.shape)
        and x.numel() * len(weight) >= FEWEST_PRODUCTS
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(x.device.type)
        and backend_for(x) == "numba"
    )
