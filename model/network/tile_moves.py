"""Vectorised moves for the CPU kernels: copies, and the transpose of a block.

numba's own copy of a slice first checks whether source and target overlap, which costs more than a
short copy, and its loops transpose a block number by number. Nothing here checks bounds.

Importing this needs numba.
"""

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from model.network.tile_product import LANES, PANEL, ROWS


def _vector_pointer(context, builder, signature, args, argument: int, count: int):
    """A pointer to ``count`` numbers of an array argument, at the offset in the next one."""
    array = context.make_array(signature.args[argument])(context, builder, args[argument])
    numbers = ir.VectorType(context.get_value_type(signature.args[0].dtype), count)
    place = builder.gep(array.data, [args[argument + 1]])
    return builder.bitcast(place, numbers.as_pointer())


def _build_copy(count: int) -> Callable[..., None]:
    """A copy of ``count`` numbers: target[to + n] = source[at + n]."""

    @intrinsic
    def copy(typing_context, source, at, target, to):
        signature = types.void(source, types.intp, target, types.intp)

        def codegen(context, builder, signature, args):
            size = context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
            numbers = _vector_pointer(context, builder, signature, args, 0, count)
            place = _vector_pointer(context, builder, signature, args, 2, count)
            builder.store(builder.load(numbers, align=size), place, align=size)
            return context.get_dummy_value()

        return signature, codegen

    return copy


copy_rows = _build_copy(ROWS)
copy_panel = _build_copy(PANEL)


def _transpose_block(typing_context, source, at, row, target, to, column):
    """target[to + c * column + r] = source[at + r * row + c] for r, c < LANES."""
    signature = types.void(source, types.intp, types.intp, target, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        size = context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))

        def line(argument: int, number: int):
            step = builder.mul(args[argument + 2], context.get_constant(types.intp, number))
            moved = list(args)
            moved[argument + 1] = builder.add(args[argument + 1], step)
            return _vector_pointer(context, builder, signature, moved, argument, LANES)

        lines = [builder.load(line(0, r), align=size) for r in range(LANES)]
        half = LANES // 2
        for _ in range(LANES.bit_length() - 1):  # each pass interleaves the two halves
            pairs = [(lines[r], lines[r + half]) for r in range(half)]
            lines = [_interleave(builder, *pair, part) for pair in pairs for part in (0, half)]
        for c, numbers in enumerate(lines):
            builder.store(numbers, line(3, c), align=size)
        return context.get_dummy_value()

    return signature, codegen


transpose_block: Callable[..., None] = intrinsic(_transpose_block)


def _interleave(builder, one, other, begin: int):
    """one[begin], other[begin], one[begin + 1], ... as one vector."""
    places = [place for n in range(begin, begin + LANES // 2) for place in (n, n + LANES)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
    return builder.shuffle_vector(one, other, mask)
