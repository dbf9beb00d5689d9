"""Fused numba kernels of SiLU, norm and gate: one pass over each token.

y = (norm(x) * weight + bias) * SiLU gate, norm over the last dimension. Tokens are divided among a
fixed number of lots, each of which adds up its own gradients of weight and bias: the result is
bitwise the same with any number of threads. Importing this needs numba.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.network.kernel_options import KERNEL_ANY_ORDER
from model.network.vector_math import silu, silu_backward

LOTS = 32


@compiled(parallel=True, **KERNEL_ANY_ORDER)
def norm_and_gate(inputs, eps, y, stats):
    """Write ``y`` (T, D), and ``stats`` (T, 2): mean and inverse deviation of each token.

    The inputs are x (T, D), gate, weight (D,) and bias (D,). The gate, like its gradient, is the
    first D columns of a wider matrix: numba vectorises only what it knows to be contiguous.
    """
    x, gate, weight, bias = inputs
    for lot in prange(LOTS):
        gates = np.empty_like(weight)
        for t in range(lot * len(x) // LOTS, (lot + 1) * len(x) // LOTS):
            mean, inverse = _statistics(x[t], eps)
            stats[t, 0], stats[t, 1] = mean, inverse
            _norm(x[t], mean, inverse, y[t])
            silu(gate[t, : len(weight)], gates)
            _affine_and_gate(y[t], weight, bias, gates)


@compiled(parallel=True, **KERNEL_ANY_ORDER)
def norm_and_gate_backward(grad, inputs, stats, grads):
    """Write the gradients of x and gate, and add up those of weight and bias, (LOTS, D) each."""
    x, gate, weight, bias = inputs
    dx, dgate, dweight, dbias = grads
    for lot in prange(LOTS):
        normed, slope = np.empty_like(weight), np.empty_like(weight)
        gates = np.empty_like(weight)
        for t in range(lot * len(x) // LOTS, (lot + 1) * len(x) // LOTS):
            given, asked = gate[t, : len(weight)], dgate[t, : len(weight)]
            silu(given, gates)
            _norm(x[t], stats[t, 0], stats[t, 1], normed)
            _gate_backward(grad[t], gates, normed, weight, bias, slope, asked)
            silu_backward(given, asked)
            _affine_backward(slope, normed, weight, dweight[lot], dbias[lot])
            _norm_backward(slope, normed, stats[t, 1], dx[t])


@njit(**KERNEL_ANY_ORDER)
def _statistics(row, eps):
    total = row[0] * 0
    for d in range(len(row)):
        total += row[d]
    mean = total / row.dtype.type(len(row))
    squares = total * 0
    for d in range(len(row)):
        squares += (row[d] - mean) * (row[d] - mean)
    return mean, row.dtype.type(1) / np.sqrt(squares / row.dtype.type(len(row)) + eps)


@njit(**KERNEL_ANY_ORDER)
def _norm(row, mean, inverse, normed):
    for d in range(len(row)):
        normed[d] = (row[d] - mean) * inverse


@njit(**KERNEL_ANY_ORDER)
def _affine_and_gate(row, weight, bias, gate):
    for d in range(len(row)):
        row[d] = (row[d] * weight[d] + bias[d]) * gate[d]


@njit(**KERNEL_ANY_ORDER)
def _gate_backward(grad, gate, normed, weight, bias, slope, dgate):
    for d in range(len(grad)):
        slope[d] = grad[d] * gate[d]
    for d in range(len(grad)):
        dgate[d] = grad[d] * (normed[d] * weight[d] + bias[d])


@njit(**KERNEL_ANY_ORDER)
def _affine_backward(slope, normed, weight, dweight, dbias):
    for d in range(len(slope)):
        dweight[d] += slope[d] * normed[d]
    for d in range(len(slope)):
        dbias[d] += slope[d]
    for d in range(len(slope)):
        slope[d] *= weight[d]


@njit(**KERNEL_ANY_ORDER)
def _norm_backward(slope, normed, inverse, dx):
    total, product = inverse * 0, inverse * 0
    for d in range(len(slope)):
        total += slope[d]
        product += slope[d] * normed[d]
    total /= slope.dtype.type(len(slope))
    product /= slope.dtype.type(len(slope))
    for d in range(len(slope)):
        dx[d] = (slope[d] - total - normed[d] * product) * inverse
