"""HSTU attention on a GPU: Triton kernels over packed rows, forward and backward.

A program of the forward kernel owns a block of queries of one row and head and walks the keys
before them. Backward has two kernels: one owns queries again, for their gradient and the biases',
the other owns keys and walks the queries after them. Scores, weights and their gradients stay in
registers and are recomputed; products of 16-bit inputs are accumulated in float32. Only the
gradients of the biases use atomic additions: they are not deterministic in their last bits.

Time buckets are exact, as on the CPU, without a logarithm: the bits of a float, read as an
integer, grow like one in straight pieces, which stay less than .09 octaves below it. A bucket has
.43, so that they name the right one or the one before it, and its threshold decides.

So far these kernels have run in Triton's interpreter and been compiled for compute capability 9.0,
where the sizes below leave registers for several programs at once; they have not run on a GPU.
"""

import math
from functools import cache

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from model.network.attention_plan import BUCKET_WIDTH, AttentionPlan, bucket_thresholds

BLOCK = 32  # queries, and keys, per block: several programs' registers fit into one multiprocessor
TILE_BYTES = 1 << 14  # at most, of one block of numbers: a kernel holds some five of them
SMALLEST_BLOCK = 16  # that tl.dot takes
WARPS_16_BIT, WARPS_32_BIT = 4, 8  # with fewer, wider numbers overflow the registers
STAGES_16_BIT, STAGES_32_BIT = 2, 1  # pipelined loads of a loop, as far as shared memory reaches
ONE_IN_BITS = tl.constexpr(127 << 23)  # the float 1.0, read as an integer
PER_BIT = tl.constexpr(math.log(2) / (1 << 23) / BUCKET_WIDTH)  # buckets
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
        _forward_kernel[_grid(plan, q)](  # pyright: ignore[reportIndexIssue]
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
        _query_kernel[grid](  # pyright: ignore[reportIndexIssue]
            *_strided(q, k, v, grad, dq), *pairs, scale, *sums, lots, **constants
        )
        _key_kernel[grid](  # pyright: ignore[reportIndexIssue]
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


@triton.jit
def _tile(
    x, token, head_stride, step, begin, places, count, head,
    SIZE: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    """Pointers to (places, ROOM) numbers of one head, and the mask of those that exist."""
    dims = tl.arange(0, ROOM)
    rows = (begin + places).to(tl.int64)[:, None] * token + head * head_stride
    return x + rows + dims[None, :] * step, (places < count)[:, None] & (dims < SIZE)[None, :]


@triton.jit
def _score(
    q, k, i, j, begin, count, head, position, time, timestamps, thresholds, scale,
    POSITIONS: tl.constexpr, BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr,
    SUM: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores (queries, keys) with biases added, and each pair's entry of the head's biases."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION, out_dtype=SUM) * scale
    distance = tl.maximum(i[:, None] - j[None, :], 0)
    at_position, at_time = distance, distance
    if position is not None:
        at_position = tl.minimum(distance, POSITIONS - 1)
        scores += tl.load(position + head * POSITIONS + at_position)
    if time is not None:
        then = tl.load(timestamps + begin + j, mask=j < count, other=0)
        now = tl.load(timestamps + begin + i, mask=i < count, other=0)
        seconds = tl.minimum(now[:, None] - then[None, :], LAST_BUCKET)
        if LAST_BUCKET < 2**31:
            seconds = seconds.to(tl.int32)
        seconds = tl.maximum(seconds, 1)
        octaves = seconds.to(tl.float32).to(tl.int32, bitcast=True) - ONE_IN_BITS
        below = tl.minimum((octaves.to(tl.float32) * PER_BIT).to(tl.int32), BUCKETS - 2)
        at_time = below + (seconds >= tl.load(thresholds + below + 1)).to(tl.int32)
        scores += tl.load(time + head * BUCKETS + at_time)
    return scores, at_position, at_time


@triton.jit
def _forward_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    out, out_token, out_head, out_step, offsets, position, time, timestamps, thresholds,
    scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + row)
    count = (tl.load(offsets + row + 1) - begin).to(tl.int32)
    first = tl.program_id(1) * BLOCK
    if first >= count:
        return
    i = first + tl.arange(0, BLOCK)
    at, there = _tile(q, q_token, q_head, q_step, begin, i, count, head, SIZE, ROOM)
    queries = tl.load(at, mask=there, other=0.0)
    total = tl.zeros((BLOCK, ROOM), dtype=SUM)
    for tile in range(0, tl.minimum(first + BLOCK, count), BLOCK):
        j = tile + tl.arange(0, BLOCK)
        at, there = _tile(k, k_token, k_head, k_step, begin, j, count, head, SIZE, ROOM)
        keys = tl.load(at, mask=there, other=0.0)
        at, there = _tile(v, v_token, v_head, v_step, begin, j, count, head, SIZE, ROOM)
        values = tl.load(at, mask=there, other=0.0)
        x, _, _ = _score(
            queries, keys, i, j, begin, count, head, position, time, timestamps, thresholds, scale,
            POSITIONS, BUCKETS, LAST_BUCKET, SUM, PRECISION,
        )  # fmt: skip
        weights = tl.where(j[None, :] <= i[:, None], x / (1 + tl.exp(-x)), 0.0).to(values.dtype)
        total += tl.dot(weights, values, input_precision=PRECISION, out_dtype=SUM)
    at, there = _tile(out, out_token, out_head, out_step, begin, i, count, head, SIZE, ROOM)
    tl.store(at, total.to(out.dtype.element_ty), mask=there)


@triton.jit
def _query_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    grad, grad_token, grad_head, grad_step, dq, dq_token, dq_head, dq_step,
    offsets, position, time, timestamps, thresholds, scale,
    position_sums, time_sums, lots,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + row)
    count = (tl.load(offsets + row + 1) - begin).to(tl.int32)
    first = tl.program_id(1) * BLOCK
    if first >= count:
        return
    i = first + tl.arange(0, BLOCK)
    at, there = _tile(q, q_token, q_head, q_step, begin, i, count, head, SIZE, ROOM)
    queries = tl.load(at, mask=there, other=0.0)
    at, there = _tile(grad, grad_token, grad_head, grad_step, begin, i, count, head, SIZE, ROOM)
    grads = tl.load(at, mask=there, other=0.0)
    total = tl.zeros((BLOCK, ROOM), dtype=SUM)
    for tile in range(0, tl.minimum(first + BLOCK, count), BLOCK):
        j = tile + tl.arange(0, BLOCK)
        at, there = _tile(k, k_token, k_head, k_step, begin, j, count, head, SIZE, ROOM)
        keys = tl.load(at, mask=there, other=0.0)
        at, there = _tile(v, v_token, v_head, v_step, begin, j, count, head, SIZE, ROOM)
        values = tl.load(at, mask=there, other=0.0)
        x, at_position, at_time = _score(
            queries, keys, i, j, begin, count, head, position, time, timestamps, thresholds, scale,
            POSITIONS, BUCKETS, LAST_BUCKET, SUM, PRECISION,
        )  # fmt: skip
        seen = (j[None, :] <= i[:, None]) & (i < count)[:, None]
        s = 1 / (1 + tl.exp(-x))
        slope = tl.dot(grads, tl.trans(values), input_precision=PRECISION, out_dtype=SUM)
        slope = tl.where(seen, slope * s * (1 + x * (1 - s)), 0.0)
        if position is not None:
            sums = position_sums + (row % lots * HEADS + head) * POSITIONS
            tl.atomic_add(sums + at_position, slope, mask=seen, sem="relaxed")
        if time is not None:
            sums = time_sums + (row % lots * HEADS + head) * BUCKETS
            tl.atomic_add(sums + at_time, slope, mask=seen, sem="relaxed")
        slope = slope.to(keys.dtype)
        total += tl.dot(slope, keys, input_precision=PRECISION, out_dtype=SUM)
    at, there = _tile(dq, dq_token, dq_head, dq_step, begin, i, count, head, SIZE, ROOM)
    tl.store(at, (total * scale).to(dq.dtype.element_ty), mask=there)


@triton.jit
def _key_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    grad, grad_token, grad_head, grad_step, dk, dk_token, dk_head, dk_step,
    dv, dv_token, dv_head, dv_step,
    offsets, position, time, timestamps, thresholds, scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + row)
    count = (tl.load(offsets + row + 1) - begin).to(tl.int32)
    first = tl.program_id(1) * BLOCK
    if first >= count:
        return
    j = first + tl.arange(0, BLOCK)
    at, there = _tile(k, k_token, k_head, k_step, begin, j, count, head, SIZE, ROOM)
    keys = tl.load(at, mask=there, other=0.0)
    at, there = _tile(v, v_token, v_head, v_step, begin, j, count, head, SIZE, ROOM)
    values = tl.load(at, mask=there, other=0.0)
    key_total = tl.zeros((BLOCK, ROOM), dtype=SUM)
    value_total = tl.zeros((BLOCK, ROOM), dtype=SUM)
    for tile in range(first, count, BLOCK):
        i = tile + tl.arange(0, BLOCK)
        at, there = _tile(q, q_token, q_head, q_step, begin, i, count, head, SIZE, ROOM)
        queries = tl.load(at, mask=there, other=0.0)
        at, there = _tile(grad, grad_token, grad_head, grad_step, begin, i, count, head, SIZE, ROOM)
        grads = tl.load(at, mask=there, other=0.0)
        x, _, _ = _score(
            queries, keys, i, j, begin, count, head, position, time, timestamps, thresholds, scale,
            POSITIONS, BUCKETS, LAST_BUCKET, SUM, PRECISION,
        )  # fmt: skip
        seen = (j[None, :] <= i[:, None]) & (i < count)[:, None]
        s = 1 / (1 + tl.exp(-x))
        slope = tl.dot(grads, tl.trans(values), input_precision=PRECISION, out_dtype=SUM)
        slope = tl.where(seen, slope * s * (1 + x * (1 - s)), 0.0).to(queries.dtype)
        weights = tl.where(seen, x * s, 0.0).to(grads.dtype)
        key_total += tl.dot(tl.trans(slope), queries, input_precision=PRECISION, out_dtype=SUM)
        value_total += tl.dot(tl.trans(weights), grads, input_precision=PRECISION, out_dtype=SUM)
    at, there = _tile(dk, dk_token, dk_head, dk_step, begin, j, count, head, SIZE, ROOM)
    tl.store(at, (key_total * scale).to(dk.dtype.element_ty), mask=there)
    at, there = _tile(dv, dv_token, dv_head, dv_step, begin, j, count, head, SIZE, ROOM)
    tl.store(at, value_total.to(dv.dtype.element_ty), mask=there)
