"""Autograd function of routed experts on the CPU, by the numba kernels.

Importing this needs numba.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.network import expert_kernels as kernels
from model.network.linear import NARROWEST
from model.network.routing import Routing
from model.network.threads import torch_threads


def wide_enough(w2: Tensor) -> bool:
    """Whether the experts' (E, dim, hidden) matrices are as wide as a linear layer's must be.

    Narrower ones would gain too; they stay with PyTorch, on whose rounding the synthetic world's
    figures in README are based.
    """
    return all(size % NARROWEST == 0 for size in w2.shape[1:])


def tiled_experts(x: Tensor, w1: Tensor, w2: Tensor, routing: Routing) -> Tensor:
    """As :func:`model.network.experts.routed_experts`; both widths are multiples of PANEL."""
    places = torch.empty_like(routing.order)
    places[routing.order] = torch.arange(len(places))
    ends = torch.cat([routing.loads.new_zeros(1), routing.loads.cumsum(0)])
    top_k = len(places) // max(1, len(x))
    where = (routing.tokens, ends, _lines(routing.loads), places.view(len(x), top_k))
    return _TiledExperts.apply(x, w1, w2, routing.weights.to(x.dtype), where)


def _lines(loads: Tensor) -> Tensor:
    """(E + 1,) int64: where the lines of each expert's chunks begin, and where all end."""
    rest = loads % kernels.CHUNK
    lines = loads // kernels.CHUNK * kernels.line_length(kernels.CHUNK)
    lines += torch.where(rest > 0, kernels.line_length(rest), 0)
    return torch.cat([lines.new_zeros(1), lines.cumsum(0)])


class _TiledExperts(torch.autograd.Function):
    """Saves its inputs, and gate and up of each slot."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x, w1, w2, weights, where):  # pyright: ignore
        given = [tensor.detach().contiguous() for tensor in (x, w1, w2, weights)]
        pre = x.new_empty(int(where[2][-1]) * w1.shape[1])
        slots, out = x.new_empty(len(weights), x.shape[1]), torch.empty_like(given[0])
        with torch_threads() as workers:
            kernels.experts_forward(
                workers, *_arrays(given, where), pre.numpy(), slots.numpy(), out.numpy()
            )
        ctx.save_for_backward(*given, pre)
        ctx.where = where
        return out

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad):  # pyright: ignore
        *given, pre = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in given]
        slots = grad.new_empty(len(given[3]), grad.shape[1])
        with torch_threads() as workers:
            kernels.experts_backward(
                workers, grad.contiguous().numpy(), *_arrays(given, ctx.where), pre.numpy(),
                slots.numpy(), tuple(tensor.numpy() for tensor in grads),
            )  # fmt: skip
        return *grads, None


def _arrays(given: Sequence[Tensor], where: Sequence[Tensor]) -> tuple[Any, ...]:
    """Input, matrices and routing as the kernels take them."""
    x, w1, w2, weights = (tensor.numpy() for tensor in given)
    return x, (w1, w2), (weights, *(tensor.numpy() for tensor in where))
