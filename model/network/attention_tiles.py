"""What HSTU attention on the CPU does with one head of a row: copies into scratch, and products.

Matrices are stored in flat scratch: row by row with stride ``width`` (E rounded up to whole
vectors), or, where a product runs along the tokens, in panels of PANEL tokens, dimension by
dimension. Scratch is not cleared: what a product reads past the last token or dimension only
affects numbers that are never used. Importing this needs numba.
"""

from numba import njit

from model.network.kernel_options import KERNEL
from model.network.tile_product import LANES, PANEL, ROWS, tile_product

KEY_TILE = 128  # keys at once: the scores of a block and their gradients fit the L1 cache


@njit(**KERNEL)
def whole_vectors(count):
    """``count`` rounded up to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@njit(**KERNEL)
def copy_rows(source, head, count, size, factor, target):
    """Copy one head of ``count`` tokens, times a factor, into rows."""
    memory, token_stride, head_stride = source
    width = whole_vectors(size)
    for t in range(count):
        at = t * token_stride + head * head_stride
        numbers, row = memory[at : at + size], target[t * width : t * width + size]
        for e in range(size):
            row[e] = numbers[e] * factor


@njit(**KERNEL)
def copy_panels(source, head, count, size, target):
    """Copy one head of ``count`` tokens into panels."""
    memory, token_stride, head_stride = source
    for t in range(count):
        at = t * token_stride + head * head_stride
        to = t // PANEL * PANEL * size + t % PANEL
        numbers, column = memory[at : at + size], target[to:]
        for e in range(size):
            column[e * PANEL] = numbers[e]


@njit(**KERNEL)
def write_rows(source, target, begin, head, count, size):
    """Copy rows back to one head of the tokens from ``begin`` on."""
    memory, token_stride, head_stride = target
    width = whole_vectors(size)
    for t in range(count):
        at = (begin + t) * token_stride + head * head_stride
        row, numbers = memory[at : at + size], source[t * width : t * width + size]
        for e in range(size):
            row[e] = numbers[e]


@njit(**KERNEL)
def multiply_panels(rows, first, last, panels, tile, reach, size, scores):
    """Rows ``first`` to ``last`` times ``reach`` columns of the panels, from ``tile`` on."""
    width = whole_vectors(size)
    for i in range(first, last, ROWS):
        for c in range(0, reach, PANEL):
            right, to = (tile + c) * size, (i - first) * KEY_TILE + c
            tile_product(
                rows, i * width, width, 1, panels, right, PANEL,
                scores, to, KEY_TILE, size, reach - c, False,
            )  # fmt: skip


@njit(**KERNEL)
def rows_times(left, count, right, tile, reach, width, total, add):
    """``total`` (count, width) (+)= left (count, reach) times the right rows from ``tile`` on."""
    for r in range(0, count, ROWS):
        for e in range(0, width, PANEL):
            at, to = r * KEY_TILE, r * width + e
            tile_product(
                left, at, KEY_TILE, 1, right, tile * width + e, width,
                total, to, width, reach, width - e, add,
            )  # fmt: skip


@njit(**KERNEL)
def columns_times(left, right, first, last, tile, reach, width, total):
    """Rows of ``total`` from ``tile`` on += left (last - first, reach) transposed times right."""
    for c in range(0, reach, ROWS):
        for e in range(0, width, PANEL):
            to = (tile + c) * width + e
            tile_product(
                left, c, 1, KEY_TILE, right, first * width + e, width,
                total, to, width, last - first, width - e, True,
            )  # fmt: skip
