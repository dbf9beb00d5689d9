"""The numba kernels of routed SwiGLU experts; :mod:`model.network.experts_cpu` calls them.

A task is an expert, and goes through its tokens in chunks. Within a chunk everything is stored
transposed, dimension by dimension with the tokens contiguous: so the weights are the left factor of
every product that makes tokens and are read in place, however few tokens an expert has, and SiLU
and routing weights are vectors over tokens. The outputs of a token's experts are added up at the
end, in the order of its choices.

One thread computes an expert, chunk after chunk: the result is bitwise the same with any number of
threads. Importing this needs numba.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.network.kernel_options import KERNEL
from model.network.tile_moves import copy_panel, transpose_block
from model.network.tile_product import LANES, PANEL, ROWS, tile_product
from model.network.vector_math import sigmoid

CHUNK = 256  # tokens at once: their intermediate results stay in the L2 cache


@compiled(parallel=True, **KERNEL)
def experts_forward(workers, x, matrices, routing, pre, slots, out):
    """Write out (T, D), and what backward needs.

    Args:
        workers: threads that share the experts, then the tokens.
        x: (T, D).
        matrices: w1 (E, 2 H, D), gate above up, and w2 (E, D, H).
        routing: of the slots, sorted by expert: weights (S,), tokens (S,), offsets of the experts'
            slots (E + 1,) and of their lines (E + 1,), which are the sum of :func:`line_length`
            over the chunks before, and each token's slots (T, top_k).
        pre: (2 H times all lines,) receives gate and up before SiLU.
        slots: (S, D) scratch.
        out: see above.
    """
    w1, w2 = matrices  # prange takes no tuples
    weights, tokens, ends, lines, places = routing
    owners = _deal(ends, workers)
    for worker in prange(workers):
        for expert in range(len(w1)):
            if owners[expert] == worker:
                own = (weights, tokens, ends[expert], ends[expert + 1], lines[expert])
                _forward(x, w1[expert], w2[expert], own, pre, slots)
    for worker in prange(workers):
        _add_up(np.int64(worker), workers, slots, places, out)


@compiled(parallel=True, **KERNEL)
def experts_backward(workers, grad, x, matrices, routing, pre, slots, grads):
    """Write the gradients of x, w1, w2 and the slots' weights from that of out, (T, D).

    The other arguments are as in :func:`experts_forward`; ``slots`` is scratch again.
    """
    w1, w2 = matrices
    weights, tokens, ends, lines, places = routing
    dx, dw1, dw2, dweights = grads
    owners = _deal(ends, workers)
    for worker in prange(workers):
        for expert in range(len(w1)):
            if owners[expert] == worker:
                own = (weights, tokens, ends[expert], ends[expert + 1], lines[expert])
                wanted = (dw1[expert], dw2[expert], dweights)
                _backward(grad, x, w1[expert], w2[expert], own, pre, slots, wanted)
    for worker in prange(workers):
        _add_up(np.int64(worker), workers, slots, places, dx)


def line_length(count):
    """Stride between dimensions: whole panels, and one vector to avoid a power of two."""
    return (count + PANEL - 1) // PANEL * PANEL + LANES


_line = njit(**KERNEL)(line_length)


@njit(**KERNEL)
def _deal(ends, workers):
    """Assign the experts to workers: the largest first, each to the least loaded worker."""
    loads = ends[1:] - ends[:-1]
    owners, busy = np.zeros(len(loads), np.int64), np.zeros(workers, np.int64)
    for expert in np.argsort(-loads, kind="mergesort"):
        owners[expert] = np.argmin(busy)
        busy[owners[expert]] += loads[expert]
    return owners


@njit(**KERNEL)
def _forward(x, w1, w2, own, pre, slots):
    weights, tokens, first, last, lines = own
    dim, hidden_dim = w2.shape
    largest = _line(min(CHUNK, last - first))
    panels, inputs = np.empty(dim * largest, x.dtype), np.empty(dim * largest, x.dtype)
    hidden, outputs = np.empty(hidden_dim * largest, x.dtype), np.empty(dim * largest, x.dtype)
    at = lines * 2 * hidden_dim
    for begin in range(first, last, CHUNK):
        end = min(last, begin + CHUNK)
        count, line = end - begin, _line(end - begin)
        made = pre[at : at + 2 * hidden_dim * line]
        at += len(made)
        _gather_panels(x, tokens[begin:end], panels)
        _panels_to_columns(panels, count, dim, line, inputs)
        _times_columns(w1, False, inputs, line, count, made)
        _activate(made, weights[begin:end], line, hidden)
        _times_columns(w2, False, hidden, line, count, outputs)
        _columns_to_rows(outputs, line, slots[begin:end])


@njit(**KERNEL)
def _backward(grad, x, w1, w2, own, pre, slots, wanted):
    weights, tokens, first, last, lines = own
    dw1, dw2, dweights = wanted
    if first == last:
        dw1[:], dw2[:] = 0, 0
    dim, hidden_dim = w2.shape
    largest = _line(min(CHUNK, last - first))
    panels = np.empty(max(dim, hidden_dim) * largest, x.dtype)
    grads, slopes = np.empty(dim * largest, x.dtype), np.empty(dim * largest, x.dtype)
    hidden = np.empty(hidden_dim * largest, x.dtype)
    weighted = np.empty(hidden_dim * largest, x.dtype)
    changed = np.empty(2 * hidden_dim * largest, x.dtype)
    at = lines * 2 * hidden_dim
    for begin in range(first, last, CHUNK):
        end = min(last, begin + CHUNK)
        count, line, here = end - begin, _line(end - begin), tokens[begin:end]
        made = pre[at : at + 2 * hidden_dim * line]
        at += len(made)
        _gather_panels(grad, here, panels)
        _panels_to_columns(panels, count, dim, line, grads)
        _times_columns(w2, True, grads, line, count, weighted)
        _activate_backward(
            made, weights[begin:end], line, weighted, changed, hidden, dweights[begin:end]
        )
        _columns_to_panels(hidden, line, count, hidden_dim, panels)
        _times_panels(grads, line, panels, count, dw2, begin > first)
        _times_columns(w1, True, changed, line, count, slopes)
        _columns_to_rows(slopes, line, slots[begin:end])
        _gather_panels(x, here, panels)
        _times_panels(changed, line, panels, count, dw1, begin > first)


@njit(**KERNEL)
def _gather_panels(x, here, panels):
    """The chosen rows of x (T, D) as panels (D / PANEL, count, PANEL)."""
    width, flat = x.shape[1], x.reshape(-1)
    for p in range(width // PANEL):
        for t in range(len(here)):
            copy_panel(flat, here[t] * width + p * PANEL, panels, (p * len(here) + t) * PANEL)


@njit(**KERNEL)
def _panels_to_columns(panels, count, width, line, columns):
    """Turn panels into columns, dimension by dimension with stride ``line``.

    What the last block reads past the last token is the next panel, or spare room after the last.
    """
    for p in range(width // PANEL):
        for t in range(0, count, LANES):
            for part in range(0, PANEL, LANES):
                transpose_block(
                    panels, (p * count + t) * PANEL + part, PANEL,
                    columns, (p * PANEL + part) * line + t, line,
                )  # fmt: skip


@njit(**KERNEL)
def _columns_to_panels(columns, line, count, width, panels):
    """The inverse; panel after panel, as each overruns the beginning of the next."""
    for p in range(width // PANEL):
        for t in range(0, count, LANES):
            for part in range(0, PANEL, LANES):
                transpose_block(
                    columns, (p * PANEL + part) * line + t, line,
                    panels, (p * count + t) * PANEL + part, PANEL,
                )  # fmt: skip


@njit(**KERNEL)
def _columns_to_rows(columns, line, rows):
    """Turn columns into rows (count, D)."""
    count, width = rows.shape
    flat, block = rows.reshape(-1), np.empty(LANES * LANES, rows.dtype)
    whole = count // LANES * LANES
    for d in range(0, width, LANES):
        for t in range(0, whole, LANES):
            transpose_block(columns, d * line + t, line, flat, t * width + d, width)
        if whole < count:
            transpose_block(columns, d * line + whole, line, block, 0, LANES)
            for t in range(whole, count):
                for n in range(LANES):
                    rows[t, d + n] = block[(t - whole) * LANES + n]


@njit(**KERNEL)
def _times_columns(left, transposed, columns, line, count, out):
    """Left, or left transposed, (rows, steps) times columns (steps, count): columns too."""
    rows, steps = left.shape
    row, step = steps, 1
    if transposed:
        rows, steps = steps, rows
        row, step = 1, rows
    flat = left.reshape(-1)
    for r in range(0, rows, ROWS):
        for c in range(0, count, PANEL):
            tile_product(
                flat, r * row, row, step, columns, c, line,
                out, r * line + c, line, steps, count - c, False,
            )  # fmt: skip


@njit(**KERNEL)
def _times_panels(columns, line, panels, count, out, add):
    """Out (rows, width) (+)= columns (rows, count) times panels (count, width)."""
    rows, width = out.shape
    flat = out.reshape(-1)
    for r in range(0, rows, ROWS):
        for p in range(width // PANEL):
            tile_product(
                columns, r * line, line, 1, panels, p * count * PANEL, PANEL,
                flat, r * width + p * PANEL, width, count, PANEL, add,
            )  # fmt: skip


@njit(**KERNEL)
def _activate(made, weights, line, hidden):
    """SiLU of the gate times up times the routing weight."""
    count, hidden_dim = len(weights), len(made) // (2 * line)
    for h in range(hidden_dim):
        gate, up = made[h * line : h * line + count], made[(hidden_dim + h) * line :]
        out = hidden[h * line : h * line + count]
        for t in range(count):
            out[t] = gate[t] * sigmoid(gate[t]) * up[t] * weights[t]


@njit(**KERNEL)
def _activate_backward(made, weights, line, weighted, changed, hidden, dweights):
    """From ``weighted``, the gradient of W2's input, to those of gate and up: ``changed``.

    Also recomputes W2's input, and writes the gradients of the routing weights.
    """
    count, hidden_dim = len(weights), len(made) // (2 * line)
    dweights[:] = 0
    for h in range(hidden_dim):
        gate, up = made[h * line : h * line + count], made[(hidden_dim + h) * line :]
        dgate, dup = changed[h * line :], changed[(hidden_dim + h) * line :]
        slope, out = weighted[h * line :], hidden[h * line :]
        for t in range(count):
            s = sigmoid(gate[t])
            silu = gate[t] * s
            product, grad = silu * up[t], slope[t] * weights[t]
            dweights[t] += product * slope[t]
            out[t] = product * weights[t]
            dgate[t] = grad * up[t] * (s + silu - silu * s)
            dup[t] = grad * silu


@njit(**KERNEL)
def _add_up(worker, workers, slots, places, out):
    """Each token's sum over its slots, in the order of its choices."""
    num_tokens, top_k = places.shape
    for t in range(worker * num_tokens // workers, (worker + 1) * num_tokens // workers):
        row, first = out[t], slots[places[t, 0]]
        for d in range(len(row)):
            row[d] = first[d]
        for k in range(1, top_k):
            more = slots[places[t, k]]
            for d in range(len(row)):
                row[d] += more[d]
