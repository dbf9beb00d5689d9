"""The matrix product micro-kernel of all CPU kernels: a small tile, held in vector registers.

numba compiles loops well but cannot keep a two-dimensional block of sums in registers, which a fast
product needs. So this product is written once in LLVM IR and called like a function: ``ROWS`` x
``PANEL`` sums, each step one row of the right factor times ``ROWS`` scalars of the left one. It
reaches the rate of a vendor's library at sizes where those do not, has no call overhead, and is the
same source for every machine that LLVM supports.

Importing this needs numba.
"""

from collections.abc import Callable

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

_AVX512 = llvm.get_host_cpu_features().get("avx512f", False)
LANES = 16 if _AVX512 else 8  # numbers in a vector
ROWS = 8 if _AVX512 else 4  # with two vectors per row the sums just fit the registers
PANEL = 2 * LANES
FUSED = ("contract",)  # multiply and add in one instruction, rounded once


def _build(vectors: int) -> Callable[..., None]:
    """The product whose tile is ``vectors`` vectors wide, for :func:`tile_product`."""

    @intrinsic
    def product(
        typing_context, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row,
        start, start_at, start_row, steps, add,
    ):  # fmt: skip
        signature = types.void(
            a, types.intp, types.intp, types.intp, b, types.intp, types.intp,
            c, types.intp, types.intp, start, types.intp, types.intp, types.intp, types.boolean,
        )  # fmt: skip

        def codegen(context, builder, signature, args):
            _emit(context, builder, signature, args, vectors)
            return context.get_dummy_value()

        return signature, codegen

    return product


def _emit(context, builder, signature, args, vectors: int) -> None:
    a_at, a_row, a_step, b_at, b_step = *args[1:4], *args[5:7]
    c_at, c_row, start_at, start_row, steps, add = *args[8:10], *args[11:]
    element = context.get_value_type(signature.args[0].dtype)
    size = context.get_abi_sizeof(element)
    vector = ir.VectorType(element, LANES)
    splat = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)

    def pointer(argument: int, index):
        data = context.make_array(signature.args[argument])(context, builder, args[argument]).data
        return builder.gep(data, [index])

    def vector_pointer(argument: int, index):
        return builder.bitcast(pointer(argument, index), vector.as_pointer())

    def constant(value: int):
        return context.get_constant(types.intp, value)

    def line(argument: int, at, stride, row: int, part: int):
        index = builder.add(builder.mul(stride, constant(row)), constant(part * LANES))
        return vector_pointer(argument, builder.add(at, index))

    tile = [(row, part) for row in range(ROWS) for part in range(vectors)]
    zero = ir.Constant(vector, None)
    sums = {at: cgutils.alloca_once_value(builder, zero) for at in tile}
    with builder.if_then(add):
        for at in tile:
            begun = builder.load(line(10, start_at, start_row, *at), align=size)
            builder.store(begun, sums[at])
    with cgutils.for_range(builder, steps) as loop:
        right_at = builder.add(b_at, builder.mul(loop.index, b_step))
        right = [
            builder.load(
                vector_pointer(4, builder.add(right_at, constant(part * LANES))), align=size
            )
            for part in range(vectors)
        ]
        left_at = builder.add(a_at, builder.mul(loop.index, a_step))
        for row in range(ROWS):
            index = builder.add(left_at, builder.mul(a_row, constant(row)))
            one = builder.insert_element(zero, builder.load(pointer(0, index)), constant(0))
            left = builder.shuffle_vector(one, zero, splat)
            for part in range(vectors):
                term = builder.fmul(left, right[part], flags=FUSED)
                total = builder.fadd(builder.load(sums[row, part]), term, flags=FUSED)
                builder.store(total, sums[row, part])
    for at in tile:
        builder.store(builder.load(sums[at]), line(7, c_at, c_row, *at), align=size)


_narrow = _build(1)
_wide = _build(2)


@njit(nogil=True, error_model="numpy")
def tile_product(a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, steps, columns, add):
    """A tile of C = A B or C += A B, at any offset of flat arrays.

    c[c_at + r * c_row + x] (+)= sum_s a[a_at + r * a_row + s * a_step] * b[b_at + s * b_step + x]

    For r < ROWS, s < ``steps`` and x < LANES, or x < PANEL where ``columns`` exceeds LANES; all
    are computed and written, whatever ``columns`` is. Nothing checks the bounds.

    a, b and c are of one dtype; ``add`` keeps what c holds and adds to it.
    """
    if columns > LANES:
        _wide(a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, c, c_at, c_row, steps, add)
    else:
        _narrow(a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, c, c_at, c_row, steps, add)


@njit(nogil=True, error_model="numpy")
def tile_product_from(
    start, start_at, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, steps
):
    """A tile of PANEL columns of C = A B plus the same bias in every row.

    As :func:`tile_product`; the sums start at start[start_at + x], or at 0 if ``start`` is empty.
    """
    _wide(
        a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row,
        start, start_at, 0, steps, len(start) > 0,
    )  # fmt: skip
