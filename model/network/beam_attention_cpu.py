"""Beam attention on a CPU: one fused numba kernel, from the projection to the gate.

A task is a few rows. Their values and keys are projected into scratch that stays in the cache; then
the queries of a row and head are packed side by side in a panel, so that scores and outputs are two
small tiled products that read values and keys in place. Nothing is padded or repeated per query.

Importing this needs numba.
"""

import numpy as np
from numba import njit, prange
from torch import Tensor, nn

from model.compiled import compiled
from model.network.beam_attention import Memory
from model.network.kernel_options import KERNEL, KERNEL_ANY_ORDER
from model.network.linear_cpu import output_panels
from model.network.threads import torch_threads
from model.network.tile_moves import transpose_block
from model.network.tile_product import LANES, PANEL, ROWS, tile_product
from model.network.vector_math import sigmoid

TOKENS_TOGETHER = 320  # projected at once: the tile of the last tokens is seldom full


def attend(
    gates_queries: Tensor,
    memory: Memory,
    values_keys: nn.Linear,
    score_bias: Tensor | None,
    norm: nn.Module,
    *,
    num_heads: int,
    scale: float,
) -> Tensor:
    """As :func:`model.network.beam_attention.attend_last`."""
    given, hidden = gates_queries.detach().contiguous(), memory.hidden.detach()
    if score_bias is None:
        score_bias = hidden.new_zeros(num_heads, len(hidden))
    out = given.new_empty(*given.shape[:2], given.shape[2] // 2)
    affine, eps = [given.new_empty(0)] * 2, 0.0
    if isinstance(norm, nn.LayerNorm):
        affine, eps = [norm.weight.detach(), norm.bias.detach()], norm.eps
    number = out.numpy().dtype.type
    with torch_threads() as workers:
        _attend(
            workers, memory.offsets.numpy(), hidden.flatten().numpy(),
            (output_panels(values_keys.weight.detach()).numpy(), values_keys.bias.detach().numpy()),
            given.view(-1, given.shape[2]).numpy(), score_bias.detach().contiguous().numpy(),
            (*(x.numpy() for x in affine), number(eps)), number(scale),
            out.view(-1, out.shape[2]).numpy(),
        )  # fmt: skip
    return out


@compiled(parallel=True, **KERNEL)
def _attend(
    workers, offsets, hidden, projection, gates_queries, score_bias, normalisation, scale, out
):
    """Write ``out`` (B W, D).

    Args:
        workers: threads that share the rows.
        offsets: (B + 1,).
        hidden: (T dim,).
        projection: panels (2 D / PANEL, dim, PANEL) and bias (2 D,) of values, then keys.
        gates_queries: (B W, 2 D).
        score_bias: (H, T).
        normalisation: weight (D,), bias (D,) and epsilon; empty and 0 for none.
        scale: of the scores.
        out: see above.
    """
    panels, bias = projection  # prange takes no tuples
    norm_weight, norm_bias, eps = normalisation
    for worker in prange(workers):
        inputs = (hidden, panels, bias, gates_queries, score_bias)
        norm = (norm_weight, norm_bias, eps)
        _attend_rows(np.int64(worker), workers, offsets, inputs, norm, scale, out)


@njit(**KERNEL)
def _attend_rows(worker, workers, offsets, inputs, norm, scale, out):
    hidden, panels, bias, gates_queries, score_bias = inputs
    num_rows, num_heads, width = len(offsets) - 1, len(score_bias), out.shape[1]
    size, per_row = width // num_heads, len(out) // num_rows
    room = TOKENS_TOGETHER
    for row in range(num_rows):
        room = max(room, offsets[row + 1] - offsets[row])
    room += ROWS  # a tile reaches past the last token
    # One vector more than a line needs: lines a power of two apart would compete for a few cache
    # sets, and a tile may reach past the last head.
    values_keys = np.empty((room, len(panels) * PANEL + LANES), out.dtype)
    queries = np.zeros((PANEL, width + LANES), out.dtype)
    mixed = np.empty((PANEL, width + PANEL + LANES), out.dtype)
    tail = np.zeros(ROWS * panels.shape[1], out.dtype)
    panel, scores = np.empty((size + LANES) * PANEL, out.dtype), np.empty(room * PANEL, out.dtype)
    row, last = worker * num_rows // workers, (worker + 1) * num_rows // workers
    while row < last:
        start, after = offsets[row], row + 1
        while after < last and offsets[after + 1] - start <= TOKENS_TOGETHER:
            after += 1
        _project(hidden, start, offsets[after] - start, panels, tail, values_keys)
        _activate(values_keys, bias, offsets[after] - start)
        for r in range(row, after):
            begin, end = offsets[r], offsets[r + 1]
            own = values_keys[begin - start :]
            for at in range(r * per_row, (r + 1) * per_row, PANEL):
                beams = min(PANEL, (r + 1) * per_row - at)
                _activate_queries(gates_queries, at, beams, scale, queries)
                for head in range(num_heads):
                    column = head * size
                    _fill_panel(queries, beams, column, size, panel)
                    _scores(own, end - begin, width + column, size, panel, beams, scores)
                    _weigh(scores, score_bias[head, begin:end], beams)
                    _mix(scores, end - begin, beams, own, column, size, mixed)
                for beam in range(beams):
                    _norm_and_gate(
                        mixed[beam, :width], norm, gates_queries[at + beam, :width], out[at + beam]
                    )
        row = after


@njit(**KERNEL)
def _project(hidden, begin, count, panels, tail, values_keys):
    """Project some tokens, without bias; a panel of the weights stays in the L1 cache."""
    width, steps = values_keys.shape[1], panels.shape[1]
    right, flat = panels.reshape(-1), values_keys.reshape(-1)
    whole = count // ROWS * ROWS
    rest = hidden[(begin + whole) * steps : (begin + count) * steps]
    for number in range(len(rest)):
        tail[number] = rest[number]
    for p in range(len(panels)):
        for t in range(0, whole, ROWS):
            tile_product(
                hidden, (begin + t) * steps, steps, 1, right, p * steps * PANEL, PANEL,
                flat, t * width + p * PANEL, width, steps, PANEL, False,
            )  # fmt: skip
        if len(rest) > 0:
            tile_product(
                tail, 0, steps, 1, right, p * steps * PANEL, PANEL,
                flat, whole * width + p * PANEL, width, steps, PANEL, False,
            )  # fmt: skip


@njit(**KERNEL)
def _activate(values_keys, bias, count):
    """Bias and SiLU, in place."""
    for t in range(count):
        numbers = values_keys[t]
        for d in range(len(bias)):
            x = numbers[d] + bias[d]
            numbers[d] = x * sigmoid(x)


@njit(**KERNEL)
def _activate_queries(gates_queries, at, beams, scale, queries):
    """SiLU of some beams' queries, scaled, a line each."""
    width = gates_queries.shape[1] // 2
    for beam in range(beams):
        given, line = gates_queries[at + beam, width:], queries[beam]
        for d in range(width):
            line[d] = given[d] * sigmoid(given[d]) * scale


@njit(**KERNEL)
def _fill_panel(queries, beams, column, size, panel):
    """Pack one head's queries: dimension by dimension with stride PANEL, beams side by side.

    Up to the next whole block other heads and beams are copied too, and never read.
    """
    flat, line = queries.reshape(-1), queries.shape[1]
    for beam in range(0, beams, LANES):
        for e in range(0, size, LANES):
            transpose_block(flat, beam * line + column + e, line, panel, e * PANEL + beam, PANEL)


@njit(**KERNEL)
def _scores(values_keys, count, column, size, panel, beams, scores):
    """Write the scores; a token's are contiguous, PANEL apart from the next token's."""
    flat, width = values_keys.reshape(-1), values_keys.shape[1]
    for t in range(0, count, ROWS):
        tile_product(
            flat, t * width + column, width, 1, panel, 0, PANEL,
            scores, t * PANEL, PANEL, size, beams, False,
        )  # fmt: skip


@njit(**KERNEL)
def _weigh(scores, bias, beams):
    """Scores become weights."""
    used = LANES if beams <= LANES else PANEL
    for t in range(len(bias)):
        numbers = scores[t * PANEL : t * PANEL + used]
        for w in range(used):
            x = numbers[w] + bias[t]
            numbers[w] = x * sigmoid(x)


@njit(**KERNEL)
def _mix(scores, count, beams, values_keys, column, size, mixed):
    """Sum the values by their weights, one line per beam.

    What is written past ``size`` is overwritten by the next head, or never read.
    """
    flat, total = values_keys.reshape(-1), mixed.reshape(-1)
    width, line = values_keys.shape[1], mixed.shape[1]
    for w in range(0, beams, ROWS):
        for e in range(0, size, PANEL):
            tile_product(
                scores, w, 1, PANEL, flat, column + e, width,
                total, w * line + column + e, line, count, size - e, False,
            )  # fmt: skip


@njit(**KERNEL_ANY_ORDER)
def _norm_and_gate(row, norm, gates, out):
    weight, bias, eps = norm
    if len(weight) > 0:
        length, total, squares = row.dtype.type(len(row)), row[0] * 0, row[0] * 0
        for d in range(len(row)):
            total += row[d]
        mean = total / length
        for d in range(len(row)):
            squares += (row[d] - mean) * (row[d] - mean)
        inverse = row.dtype.type(1) / np.sqrt(squares / length + eps)
        for d in range(len(row)):
            row[d] = (row[d] - mean) * inverse * weight[d] + bias[d]
    for d in range(len(row)):
        out[d] = row[d] * gates[d] * sigmoid(gates[d])
