"""HSTU attention on a GPU: what launches the kernels, forward and backward.

So far they have run in Triton's interpreter and been compiled for compute capability 9.0, where the
sizes below leave registers for several programs at once; they have not run on a GPU.
"""

from functools import cache

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from model.network.attention_plan import AttentionPlan, bucket_thresholds
from model.network.attention_triton_kernels import forward_kernel, key_kernel, query_kernel

BLOCK = 32  # queries, and keys, per block: several programs' registers fit into one multiprocessor
TILE_BYTES = 1 << 14  # at most, of one block of numbers: a kernel holds some five of them
SMALLEST_BLOCK = 16  # that tl.dot takes
WARPS_16_BIT, WARPS_32_BIT = 4, 8  # with fewer, wider numbers overflow the registers
STAGES_16_BIT, STAGES_32_BIT = 2, 1  # pipelined loads of a loop, as far as shared memory reaches
MAX_LOTS = 64  # partial sums of each bias, shared by rows: atomic additions seldom collide


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
    if q.dtype == torch.float64:  # a compiled kernel gets scalars in single precision
        q, scale = q * scale, 1.0
    return _Attention.apply(q, k, v, position_bias, time_bias, plan, scale)


class _Attention(torch.autograd.Function):
    """Saves only its inputs for the backward pass, which recomputes the rest."""

    @staticmethod
    def forward(ctx, q, k, v, position_bias, time_bias, plan, scale):  # pyright: ignore
        ctx.save_for_backward(q, k, v, position_bias, time_bias)
        ctx.plan, ctx.scale = plan, scale
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        forward_kernel[_grid(plan, q)](  # pyright: ignore[reportIndexIssue]
            *_strided(q, k, v, out), *_pairs(plan, position_bias, time_bias),
            scale, **_constants(plan, q, position_bias),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore
        q, k, v, position_bias, time_bias = ctx.saved_tensors
        dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
        pairs = _pairs(ctx.plan, position_bias, time_bias)
        constants = _constants(ctx.plan, q, position_bias)
        grid, scale = _grid(ctx.plan, q), ctx.scale
        lots = min(MAX_LOTS, len(ctx.plan.offsets) - 1)
        sums = [_zeros(lots, bias, q) for bias in (position_bias, time_bias)]
        query_kernel[grid](  # pyright: ignore[reportIndexIssue]
            *_strided(q, k, v, grad, dq), *pairs, scale, *sums, lots, **constants
        )
        key_kernel[grid](  # pyright: ignore[reportIndexIssue]
            *_strided(q, k, v, grad, dk, dv), *pairs, scale, **constants
        )
        biases = (None if total is None else total.sum(0).t() for total in sums)
        return dq, dk, dv, *biases, None, None


def _grid(plan: AttentionPlan, q: Tensor) -> tuple[int, int]:
    """(row, head) pairs, and blocks of the longest row; blocks past a row's end do nothing.

    CUDA takes no more than 65,535 programs along any axis but the first.
    """
    return (len(plan.offsets) - 1) * q.shape[1], triton.cdiv(plan.max_length, _block(q))


def _block(q: Tensor) -> int:
    return max(SMALLEST_BLOCK, min(BLOCK, TILE_BYTES // (_room(q) * q.element_size())))


def _room(q: Tensor) -> int:
    """The size of a head, padded to the power of two that the kernels need."""
    return max(16, triton.next_power_of_2(q.shape[2]))


def _strided(*tensors: Tensor) -> list[Tensor | int]:
    """Each tensor with its token, head and dimension strides."""
    return [part for x in tensors for part in (x, *x.stride())]


def _pairs(
    plan: AttentionPlan, position_bias: Tensor | None, time_bias: Tensor | None
) -> list[Tensor | None]:
    """Kernel arguments for the bias of a pair: offsets, biases, and times for a time bias.

    A head's entries stand side by side, so that neighbouring pairs read, and add to, one sector.
    """
    by_head = [x if x is None else x.t().contiguous() for x in (position_bias, time_bias)]
    times = [None, None] if time_bias is None else [plan.timestamps, plan.bucket_thresholds]
    return [plan.offsets, *by_head, *times]


def _constants(plan: AttentionPlan, q: Tensor, position_bias: Tensor | None) -> dict:
    exact = q.dtype != torch.float32 or not torch.backends.cuda.matmul.allow_tf32
    narrow = q.element_size() == 2
    return {
        "HEADS": q.shape[1],
        "SIZE": q.shape[2],
        "ROOM": _room(q),
        "POSITIONS": 0 if position_bias is None else len(position_bias),
        "BUCKETS": plan.num_time_buckets,
        "LAST_BUCKET": _last_bucket(plan.num_time_buckets),
        "SUM": tl.float64 if q.dtype == torch.float64 else tl.float32,
        "PRECISION": "ieee" if exact else "tf32",
        "BLOCK": _block(q),
        "num_warps": WARPS_16_BIT if narrow else WARPS_32_BIT,
        "num_stages": STAGES_16_BIT if narrow else STAGES_32_BIT,
    }


@cache
def _last_bucket(num_buckets: int) -> int:
    """The smallest difference, in seconds, of the last bucket."""
    return int(bucket_thresholds(num_buckets)[-1])


def _zeros(lots: int, bias: Tensor | None, q: Tensor) -> Tensor | None:
    """Zeros for (lots, H, entries) partial sums of a bias' gradient."""
    if bias is None:
        return None
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    return torch.zeros(lots, *bias.t().shape, dtype=dtype, device=q.device)
