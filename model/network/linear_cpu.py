"""Autograd function of a linear layer on the CPU, by the numba kernels.

Importing this needs numba.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.network import linear_kernels as kernels
from model.network.threads import torch_threads
from model.network.tile_product import PANEL


def tiled_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As :func:`model.network.linear.linear`; the weight's sizes are multiples of PANEL."""
    flat = x.reshape(-1, x.shape[-1])
    return _Linear.apply(flat, weight, bias).view(*x.shape[:-1], len(weight))


def output_panels(weight: Tensor) -> Tensor:
    """(N, K) -> (N / PANEL, K, PANEL), N rounded up: the weight transposed, as a right factor."""
    missing = -len(weight) % PANEL
    padded = torch.nn.functional.pad(weight, (0, 0, 0, missing)) if missing else weight
    return padded.view(-1, PANEL, weight.shape[1]).transpose(1, 2).contiguous()


class _Linear(torch.autograd.Function):
    """Saves its input and weight."""

    @staticmethod
    def forward(ctx, x, weight, bias):  # pyright: ignore
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _multiply(x, output_panels(weight.detach()), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        x_grad = _multiply(grad, _input_panels(weight), None) if needs_x else None
        if not (needs_weight or needs_bias):
            return x_grad, None, None
        weight_grad = torch.empty_like(weight, memory_format=torch.contiguous_format)
        bias_grad = grad.new_zeros(len(weight) if ctx.biased else 0)
        with torch_threads() as workers:
            kernels.multiply_along_tokens(
                workers, grad.numpy(), x.detach().contiguous().numpy(), weight_grad.numpy(),
                bias_grad.numpy(),
            )  # fmt: skip
        return x_grad, weight_grad, bias_grad if ctx.biased else None


def _multiply(x: Tensor, panels: Tensor, bias: Tensor | None) -> Tensor:
    """(T, K) times the panels (N / PANEL, K, PANEL) plus the bias: (T, N)."""
    out = x.new_empty(len(x), len(panels) * PANEL)
    start = x.new_empty(0) if bias is None else bias.detach()
    with torch_threads() as workers:
        kernels.multiply(
            workers, x.detach().contiguous().numpy(), panels.numpy(), start.numpy(), out.numpy()
        )
    return out


def _input_panels(weight: Tensor) -> Tensor:
    """(N, K) -> (K / PANEL, N, PANEL): the weight itself, as a right factor."""
    return weight.view(len(weight), -1, PANEL).transpose(0, 1).contiguous()
