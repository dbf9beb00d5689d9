"""HSTU attention on a GPU: Triton kernels over packed rows.

A program of the forward kernel owns a block of queries of one row and head and walks the keys
before them. Backward has two kernels: one owns queries again, for their gradient and the biases',
the other owns keys and walks the queries after them. Scores, weights and their gradients stay in
registers and are recomputed; products of 16-bit inputs are accumulated in float32. Only the
gradients of the biases use atomic additions: they are not deterministic in their last bits.

Time buckets are exact, as on the CPU, without a logarithm: the bits of a float, read as an
integer, grow like one in straight pieces, which stay less than .09 octaves below it. A bucket has
.43, so that they name the right one or the one before it, and its threshold decides.
"""

import math

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from model.network.attention_plan import BUCKET_WIDTH

ONE_IN_BITS = tl.constexpr(127 << 23)  # the float 1.0, read as an integer
PER_BIT = tl.constexpr(math.log(2) / (1 << 23) / BUCKET_WIDTH)  # buckets


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
def forward_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    out, out_token, out_head, out_step, offsets, position, time, timestamps, thresholds,
    scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write a block of the output."""
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
def query_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    grad, grad_token, grad_head, grad_step, dq, dq_token, dq_head, dq_step,
    offsets, position, time, timestamps, thresholds, scale,
    position_sums, time_sums, lots,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a block of queries; add up those of the biases."""
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
def key_kernel(
    q, q_token, q_head, q_step, k, k_token, k_head, k_step, v, v_token, v_head, v_step,
    grad, grad_token, grad_head, grad_step, dk, dk_token, dk_head, dk_step,
    dv, dv_token, dv_head, dv_step,
    offsets, position, time, timestamps, thresholds, scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROOM: tl.constexpr, POSITIONS: tl.constexpr,
    BUCKETS: tl.constexpr, LAST_BUCKET: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a block of keys and of its values."""
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
