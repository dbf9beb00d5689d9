"""HSTU attention on the CPU: numba kernels over the lower triangle of each row and head.

A task is a lot of rows, head by head; it copies a row's queries, keys and values into scratch that
stays in the cache, then goes through the queries in blocks and the keys before them in tiles:
product, bias and SiLU, product. Only the last block is padded, above the diagonal only the rest of
its tile is computed, and backward recomputes the weights. A SiLU of queries, keys and values is
applied row by row in scratch, so that the activated tensors are never materialised.

Rows are dealt to the lots by length, whatever the number of threads, and each task forms its sums
alone and in a fixed order. So the result is bitwise the same with any number of threads.

Importing this needs numba.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.network import attention_kernels as kernels
from model.network.attention_plan import AttentionPlan
from model.network.threads import torch_threads
from model.network.tile_product import LANES


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: AttentionPlan,
    position_bias: Tensor | None,
    time_bias: Tensor | None,
    *,
    scale: float,
) -> Tensor:
    """As :func:`model.network.attention.hstu_attention`."""
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    tensors = [x if x is None else x.to(dtype) for x in (q, k, v, position_bias, time_bias)]
    return _Attention.apply(*tensors, plan, scale).to(q.dtype)


def fill_triangle_buckets(plan: AttentionPlan) -> Tensor:
    """(sum over rows of n (n + 1) / 2,) uint8: :attr:`AttentionPlan.triangle_buckets`."""
    assert plan.timestamps is not None
    lengths = plan.offsets.diff()
    buckets = torch.empty(int((lengths * (lengths + 1) // 2).sum()), dtype=torch.uint8)
    with torch_threads():
        kernels.fill_buckets(
            plan.timestamps.numpy(), plan.offsets.numpy(), plan.triangle_offsets.numpy(),
            plan.bucket_thresholds.numpy(), buckets.numpy(),
        )  # fmt: skip
    return buckets


class _Attention(torch.autograd.Function):
    """Saves only its inputs for backward."""

    @staticmethod
    def forward(ctx, q, k, v, position_bias, time_bias, plan, scale):  # pyright: ignore
        ctx.save_for_backward(q, k, v, position_bias, time_bias)
        ctx.plan, ctx.scale = plan, scale
        return forward((q, k, v), (position_bias, time_bias), plan, scale)

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore
        *qkv, position_bias, time_bias = ctx.saved_tensors
        grads = [torch.empty(x.shape, dtype=x.dtype) for x in qkv]
        biases = (position_bias, time_bias)
        slopes = backward(qkv, biases, ctx.plan, ctx.scale, grad, grads)
        return *grads, *slopes, None, None


def forward(
    qkv: Sequence[Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    plan: AttentionPlan,
    scale: float,
    *,
    activate: bool = False,
) -> Tensor:
    """The output, (T, H, E), of q, k and v with biases by position and time.

    ``activate`` applies SiLU to q, k and v first.
    """
    out = torch.empty(qkv[0].shape, dtype=qkv[0].dtype)
    number = out.numpy().dtype.type
    with torch_threads() as workers:
        kernels.attend(
            workers, tuple(_flat(x) for x in (*qkv, out)), _rows(plan, biases[1]),
            _biases(plan, out, *biases), out.shape[2], number(scale),
            activate,
        )  # fmt: skip
    return out


def backward(
    qkv: Sequence[Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    plan: AttentionPlan,
    scale: float,
    grad: Tensor,
    grads: Sequence[Tensor],
    *,
    activate: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Write the gradients of q, k and v into ``grads``; returns those of the biases.

    With ``activate`` they are the gradients of q, k and v before their SiLU.
    """
    q = grads[0]
    number = q.numpy().dtype.type
    tensors = tuple(_flat(x) for x in (*qkv, grad, *grads))
    position_sums, time_sums = _empty_sums(plan, q)
    with torch_threads() as workers:
        kernels.attend_backward(
            workers, tensors, _rows(plan, biases[1]), _biases(plan, q, *biases),
            (position_sums.numpy(), time_sums.numpy()),
            q.shape[2], number(scale), activate,
        )  # fmt: skip
    return (
        None if biases[0] is None else _by_distance(position_sums, biases[0]),
        None if biases[1] is None else time_sums.sum((0, 3)).T,
    )


def _flat(x: Tensor) -> tuple[np.ndarray, int, int]:
    """(T, H, E) for numba: flat memory from the first number on, token and head stride."""
    x = x.detach()
    if x.stride(2) != 1:
        x = x.contiguous()
    reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True)) + 1
    return x.as_strided((reach,), (1,)).numpy(), x.stride(0), x.stride(1)


def _rows(plan: AttentionPlan, time_bias: Tensor | None) -> tuple[np.ndarray, ...]:
    """Offsets, rows by length, the offsets of the rows' time buckets, and the buckets."""
    tensors = [plan.offsets, plan.rows_by_length, plan.triangle_offsets]
    buckets = plan.triangle_buckets if time_bias is not None else torch.empty(0, dtype=torch.uint8)
    return tuple(x.numpy() for x in (*tensors, buckets))


def _biases(
    plan: AttentionPlan, q: Tensor, position_bias: Tensor | None, time_bias: Tensor | None
) -> tuple[np.ndarray, np.ndarray]:
    """Per head: the position bias from the largest distance to 0, and the time bias.

    The first is followed by LANES zeros, for the vector that reaches past the diagonal.
    """
    by_head = torch.zeros(q.shape[1], plan.max_length + LANES, dtype=q.dtype)
    if position_bias is not None:
        rows = _distances(plan.max_length, len(position_bias))
        by_head[:, : plan.max_length] = position_bias.detach()[rows].T
    times = torch.zeros(q.shape[1], 0) if time_bias is None else time_bias.detach().T.contiguous()
    return by_head.numpy(), times.to(q.dtype).numpy()


def _empty_sums(plan: AttentionPlan, q: Tensor) -> tuple[Tensor, Tensor]:
    """Zeros for the tasks' gradients of the biases: (lots, H, L + LANES), (lots, H, N, 4)."""
    lots = min(kernels.MAX_LOTS, len(plan.rows_by_length))
    positions = torch.zeros(lots, q.shape[1], plan.max_length + LANES, dtype=q.dtype)
    times = torch.zeros(lots, q.shape[1], plan.num_time_buckets, kernels.TIME_SUMS, dtype=q.dtype)
    return positions, times


def _by_distance(sums: Tensor, position_bias: Tensor) -> Tensor:
    """(lots, H, L + LANES) sums -> the gradient of the position bias, (P, H)."""
    length = sums.shape[2] - LANES
    rows = _distances(length, len(position_bias))
    by_row = sums.sum(0)[:, :length].T
    return torch.zeros_like(position_bias).index_add_(0, rows, by_row)


def _distances(length: int, num_rows: int) -> Tensor:
    """(length,) the row of the position bias for the distances length - 1 to 0."""
    return torch.arange(length - 1, -1, -1).clamp(max=num_rows - 1)
