"""The products of routed SwiGLU experts, sorted by expert: three implementations.

out[t] = sum over the slots s of token t of weight_s * E_s(x[t]), with
E(x) = W2 (silu(gate) * up) and [gate | up] = W1 x. The weight is applied before W2, so that its
gradient needs no saved expert output.

``grouped_experts`` is for GPUs: two grouped matrix products, no synchronisation with the device.
``tiled_experts``, in a module of its own, is for CPUs: compiled kernels, as fast per token with few
tokens per expert as with many. ``segment_experts`` is for narrow experts on a CPU, for a CPU
without numba, and for micro-batches without tokens: one operation walks the segments of the sorted
slots and finishes a segment while it is in the cache; it saves one (slots, 2 * hidden) tensor for
backward where grouped products save five.
tests/benchmarks/bench_moe.py times them.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from model.network.backend import backend_for
from model.network.routing import Routing
from model.network.thread_invariance import thread_invariant


def routed_experts(x: Tensor, w1: Tensor, w2: Tensor, routing: Routing) -> Tensor:
    """The weighted sum of each token's experts, by the implementation for the device.

    Args:
        x: (T, dim).
        w1: (E, 2 * hidden, dim), gate above up.
        w2: (E, dim, hidden).
        routing: of the T tokens over the E experts.

    Returns:
        (T, dim); under autocast in its lower precision on a GPU.
    """
    if x.device.type != "cpu" and len(x):
        return grouped_experts(x, w1, w2, routing)
    if backend_for(x) == "numba":
        from model.network.experts_cpu import tiled_experts, wide_enough

        if wide_enough(w2):
            return tiled_experts(x, w1, w2, routing)
    return segment_experts(x, w1, w2, routing)


def grouped_experts(x: Tensor, w1: Tensor, w2: Tensor, routing: Routing) -> Tensor:
    """As :func:`routed_experts`, by two grouped products over all experts; fp32, fp16 or bf16.

    Needs at least one token.
    """
    device, dim = x.device.type, x.shape[1]
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        x, w1, w2 = x.to(low), w1.to(low), w2.to(low)
    x, w1, w2 = _with_aligned_rows(x, w1, w2)
    places = torch.empty_like(routing.order)
    places[routing.order] = torch.arange(len(places), device=places.device)
    places = places.view(len(x), -1)
    ends = routing.loads.cumsum(0).to(torch.int32)
    slots = _ToSlots.apply(x, routing.tokens, places)
    gate, up = F.grouped_mm(slots, w1.transpose(1, 2), offs=ends).chunk(2, dim=1)
    hidden = F.silu(gate) * up * routing.weights.to(x.dtype)[:, None]
    y = F.grouped_mm(hidden, w2.transpose(1, 2), offs=ends)
    return _ToTokens.apply(y, routing.tokens, places)[:, :dim]


def _with_aligned_rows(x: Tensor, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zero-pad odd widths, which changes no sum: a GPU requires rows of a multiple of 16 bytes."""
    unit = 16 // x.element_size()
    dim, hidden = (-width % unit for width in w2.shape[1:])
    if not dim and not hidden:
        return x, w1, w2
    w1 = F.pad(w1.unflatten(1, (2, -1)), (0, dim, 0, hidden)).flatten(1, 2)
    return F.pad(x, (0, dim)), w1, F.pad(w2, (0, hidden, 0, dim))


def segment_experts(x: Tensor, w1: Tensor, w2: Tensor, routing: Routing) -> Tensor:
    """As :func:`routed_experts`, segment by segment, in the type of ``x``; waits for the loads."""
    weights = routing.weights.to(x.dtype)
    return _SegmentExperts.apply(x, w1, w2, weights, routing.tokens, _segments(routing.loads))


def _segments(loads: Tensor) -> list[slice]:
    """Where each expert's slots lie."""
    ends = loads.cumsum(0).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class _ToSlots(torch.autograd.Function):
    """(T, dim) -> (slots, dim); the gradient is a sum of gathers, not a scatter with atomics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return grad[places].sum(dim=1), None, None


class _ToTokens(torch.autograd.Function):
    """(slots, dim) -> (T, dim), the adjoint of ``_ToSlots``."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(tokens)
        return slots[places].sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (tokens,) = ctx.saved_tensors
        return grad.index_select(0, tokens), None, None


class _SegmentExperts(torch.autograd.Function):
    """No token occurs twice in a segment, so that no scatter below has conflicting writes."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        x: Tensor,
        w1: Tensor,
        w2: Tensor,
        weights: Tensor,
        tokens: Tensor,
        segments: list[slice],
    ) -> Tensor:
        out = torch.zeros_like(x)
        pre = x.new_empty(len(tokens), w1.shape[1])
        limited = thread_invariant if torch.is_inference_mode_enabled() else nullcontext
        for expert, at in enumerate(segments):
            if at.start == at.stop:
                continue
            here = tokens[at]
            with limited(len(here)):
                torch.mm(x.index_select(0, here), w1[expert].t(), out=pre[at])
                gate, up = pre[at].chunk(2, dim=1)
                hidden = F.silu(gate).mul_(up).mul_(weights[at, None])
                out.index_add_(0, here, hidden @ w2[expert].t())
        ctx.save_for_backward(x, w1, w2, weights, tokens, pre)
        ctx.segments = segments
        return out

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, w2, weights, tokens, pre = ctx.saved_tensors
        grad_x, grad_weights = torch.zeros_like(x), torch.empty_like(weights)
        grad_w1, grad_w2 = torch.empty_like(w1), torch.empty_like(w2)
        largest = max((at.stop - at.start for at in ctx.segments), default=0)
        scratch = pre.new_empty(largest, pre.shape[1])
        for expert, at in enumerate(ctx.segments):  # an idle expert's empty products give zeros
            here, weight = tokens[at], weights[at, None]
            gate, up = pre[at].chunk(2, dim=1)
            silu = F.silu(gate)
            hidden = silu * up
            grad_y = grad_out.index_select(0, here)
            grad_weighted = grad_y @ w2[expert]
            grad_weights[at] = (hidden * grad_weighted).sum(dim=1)
            torch.mm(grad_y.t(), hidden.mul_(weight), out=grad_w2[expert])
            grad_hidden = grad_weighted.mul_(weight)
            grad_pre = scratch[: at.stop - at.start]
            grad_gate, grad_up = grad_pre.chunk(2, dim=1)
            torch.mul(grad_hidden, up, out=grad_gate)
            torch.ops.aten.silu_backward.grad_input(grad_gate, gate, grad_input=grad_gate)
            torch.mul(grad_hidden, silu, out=grad_up)
            torch.mm(grad_pre.t(), x.index_select(0, here), out=grad_w1[expert])
            grad_x.index_add_(0, here, grad_pre @ w1[expert])
        return grad_x, grad_w1, grad_w2, grad_weights, None, None
