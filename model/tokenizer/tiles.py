"""Scores of a few vectors against a few centroids, in registers.

A tile holds ``LANES`` centroids, one per lane. The order of additions within a score depends on the
width alone: not on the tile, the lane, or what else is asked for. So equal centroids score equally,
and scores are batch-invariant.
"""

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from model.compiled import compiled

LANES = 16  # one register of AVX-512, two of AVX2
ROWS = 4  # vectors at once; their sums are independent and fit into the registers of AVX2 too
NOBODY = -1

_FUSED = ("contract",)  # multiply and add in one instruction, rounded once
_REGISTER = ir.VectorType(ir.FloatType(), LANES)


@compiled()
def fill_tiles(centroids: np.ndarray, members: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Lay centroids out in tiles, one per lane.

    Args:
        centroids: (K, width) float32.
        members: (T, LANES) int32 centroids of each tile, ascending; ``NOBODY`` where none is.

    Returns:
        (T, (1 + width) * LANES) float32: half the squared norms, then the negated coordinates.
    """
    width = centroids.shape[1]
    tiles = np.zeros((len(members), 1 + width, LANES), np.float32)
    for tile in range(len(members)):
        for lane in range(LANES):
            k = members[tile, lane]
            if k == NOBODY:
                tiles[tile, 0, lane] = np.inf
                continue
            norm = np.float32(0.0)
            for j in range(width):
                norm += centroids[k, j] * centroids[k, j]
                tiles[tile, 1 + j, lane] = -centroids[k, j]
            tiles[tile, 0, lane] = norm / np.float32(2.0)
    return tiles.reshape(len(members), -1)


@intrinsic
def _score_rows(typing_context, vectors, rows, tile, scores):
    """Score ``ROWS`` vectors: half the squared distance, less half the vector's squared norm.

    Bounds are not checked.

    Args:
        typing_context: numba's.
        vectors: (n, width) float32.
        rows: (ROWS,) int64 of them, repeated or not.
        tile: ((1 + width) * LANES,) float32 of :func:`fill_tiles`.
        scores: (ROWS, LANES) float32, written.
    """

    def codegen(context, builder, signature, args):
        arrays = (
            context.make_array(kind)(context, builder, array)
            for kind, array in zip(signature.args, args, strict=True)
        )
        _emit(builder, *arrays)
        return context.get_dummy_value()

    return types.void(vectors, rows, tile, scores), codegen


score_rows: Callable[..., None] = _score_rows  # numba passes the context


def _emit(builder, vectors, rows, tile, scores) -> None:
    width = cgutils.unpack_tuple(builder, vectors.shape)[1]
    index = width.type
    panel = builder.bitcast(tile.data, _REGISTER.as_pointer())
    norms = builder.load(panel, align=4)
    starts, sums = [], []
    for number in range(ROWS):
        row = builder.load(builder.gep(rows.data, [index(number)]))
        starts.append(builder.gep(vectors.data, [builder.mul(row, width)]))
        sums.append(cgutils.alloca_once_value(builder, norms))
    with cgutils.for_range(builder, width) as loop:
        place = builder.gep(panel, [builder.add(loop.index, index(1))])
        coordinates = builder.load(place, align=4)
        for start, total in zip(starts, sums, strict=True):
            factor = _spread(builder, builder.load(builder.gep(start, [loop.index])))
            term = builder.fmul(factor, coordinates, flags=_FUSED)
            builder.store(builder.fadd(builder.load(total), term, flags=_FUSED), total)
    output = builder.bitcast(scores.data, _REGISTER.as_pointer())
    for number, total in enumerate(sums):
        builder.store(builder.load(total), builder.gep(output, [index(number)]), align=4)


def _spread(builder, value):
    """The same number in every lane."""
    zero = ir.Constant(_REGISTER, None)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    first = builder.insert_element(zero, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, zero, everywhere)


@compiled(fastmath={"nnan", "nsz"})
def lowest(scores: np.ndarray) -> np.float32:  # pragma: no cover
    """Minimum of (LANES,) float32."""
    least = scores[0]
    for lane in range(1, LANES):
        least = min(least, scores[lane])
    return least


@compiled()
def first_lane(scores: np.ndarray, wanted: np.float32) -> np.int32:  # pragma: no cover
    """First of the (LANES,) float32 that equals ``wanted``."""
    found = np.int32(LANES)
    for lane in range(LANES):
        found = min(found, np.int32(lane) if scores[lane] == wanted else np.int32(LANES))
    return found
