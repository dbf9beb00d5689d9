"""The numba kernels of a linear layer: its output, and the gradients of its input and weight.

All three are products of small tiles. What tiles read repeatedly is packed first, in the order in
which it is read: columns in panels of PANEL, row by row, and, where both factors run along the
tokens, rows in strips of ROWS. Each number is one sum in a fixed order, whatever the batch
(batch-invariant) and the number of threads.

Importing this needs numba.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.network.kernel_options import KERNEL
from model.network.tile_moves import copy_panel, copy_rows
from model.network.tile_product import PANEL, ROWS, tile_product, tile_product_from

ROWS_AT_ONCE = 16 * ROWS  # of the left factor, multiplied by all panels while in the cache
COLUMNS_AT_ONCE = 16 * ROWS  # packed together, so that whole cache lines are read
TOKENS_AT_ONCE = 512  # of a sum over tokens, packed before they are multiplied


@compiled(parallel=True, **KERNEL)
def multiply(workers, left, panels, bias, out):
    """Write out (T, N) = left (T, K) times the panels (N / PANEL, K, PANEL), plus the bias.

    ``workers`` threads share the rows. The bias is (N,), or empty for none.
    """
    for worker in prange(workers):
        _multiply_rows(np.int64(worker), workers, left, panels, bias, out)


@compiled(parallel=True, **KERNEL)
def multiply_along_tokens(workers, grad, x, weight_grad, bias_grad):
    """Write weight_grad (N, K) = grad (T, N) transposed times x (T, K), and grad's sum, (N,).

    ``workers`` threads share the rows of the weight. N and K are multiples of PANEL; an empty
    ``bias_grad`` stays as it is.
    """
    for worker in prange(workers):
        strips = len(weight_grad) // ROWS
        first, last = worker * strips // workers * ROWS, (worker + 1) * strips // workers * ROWS
        _multiply_columns(grad, x, first, last, weight_grad, bias_grad)


@njit(**KERNEL)
def _multiply_rows(worker, workers, left, panels, bias, out):
    tokens, steps = left.shape
    width = out.shape[1]
    flat, right, target = left.reshape(-1), panels.reshape(-1), out.reshape(-1)
    tail, made = np.zeros(ROWS * steps, out.dtype), np.empty(ROWS * PANEL, out.dtype)
    strips = (tokens + ROWS - 1) // ROWS
    first = worker * strips // workers * ROWS
    last = min(tokens, (worker + 1) * strips // workers * ROWS)
    for begin in range(first, last, ROWS_AT_ONCE):
        end = min(last, begin + ROWS_AT_ONCE)
        whole = begin + (end - begin) // ROWS * ROWS
        for number in range((end - whole) * steps):
            tail[number] = flat[whole * steps + number]
        for p in range(len(panels)):
            column = p * PANEL
            for t in range(begin, whole, ROWS):
                tile_product_from(
                    bias, column, flat, t * steps, steps, 1, right, column * steps, PANEL,
                    target, t * width + column, width, steps,
                )  # fmt: skip
            if whole < end:
                tile_product_from(
                    bias, column, tail, 0, steps, 1, right, column * steps, PANEL,
                    made, 0, PANEL, steps,
                )  # fmt: skip
                for r in range(end - whole):
                    copy_panel(made, r * PANEL, target, (whole + r) * width + column)


@njit(**KERNEL)
def _multiply_columns(grad, x, first, last, weight_grad, bias_grad):
    tokens, steps = len(grad), min(TOKENS_AT_ONCE, len(grad))
    width, target = x.shape[1], weight_grad.reshape(-1)
    panels = np.empty(width * steps, x.dtype)
    strips = np.empty(COLUMNS_AT_ONCE * steps, x.dtype)
    for begin in range(0, tokens, TOKENS_AT_ONCE):
        count = min(TOKENS_AT_ONCE, tokens - begin)
        _copy_panels(x, begin, count, panels)
        for column in range(first, last, COLUMNS_AT_ONCE):
            end = min(last, column + COLUMNS_AT_ONCE)
            _copy_strips(grad, begin, count, column, end, strips)
            if len(bias_grad) > 0:
                _add_up(grad, begin, count, bias_grad[column:end], column)
            for p in range(width // PANEL):
                for row in range(column, end, ROWS):
                    tile_product(
                        strips, (row - column) * count, 1, ROWS, panels, p * count * PANEL, PANEL,
                        target, row * width + p * PANEL, width, count, PANEL, begin > 0,
                    )  # fmt: skip


@njit(**KERNEL)
def _copy_panels(x, begin, count, panels):
    width, flat = x.shape[1], x.reshape(-1)
    for t in range(count):
        for p in range(width // PANEL):
            copy_panel(flat, (begin + t) * width + p * PANEL, panels, (p * count + t) * PANEL)


@njit(**KERNEL)
def _copy_strips(grad, begin, count, column, end, strips):
    width, flat = grad.shape[1], grad.reshape(-1)
    for t in range(count):
        for row in range(column, end, ROWS):
            copy_rows(flat, (begin + t) * width + row, strips, (row - column) * count + t * ROWS)


@njit(**KERNEL)
def _add_up(grad, begin, count, sums, column):
    for t in range(begin, begin + count):
        numbers = grad[t, column : column + len(sums)]
        for n in range(len(sums)):
            sums[n] += numbers[n]
