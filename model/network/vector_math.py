"""Sigmoid and SiLU that numba can vectorise, 16 numbers at a time. Importing this needs numba.

The compiler cannot vectorise ``math.exp``; the exponential here is a polynomial after the usual
range reduction by powers of two, within 2e-7 of the true value in float32. In float64 it is
``math.exp`` itself.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from model.network.kernel_options import KERNEL

LOG2_E = np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
LARGEST = np.float32(87.0)  # beyond it exp leaves the range of float32
HALF, ONE = np.float32(0.5), np.float32(1.0)
# exp(f) = 1 + f + f^2 (...): the minimax coefficients of Cephes' expf.
C0, C1, C2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
C3, C4, C5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@njit(inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)) in x's own precision."""
    one = type(x)(1)
    return one / (one + exponential(-x))


@njit(**KERNEL)
def silu(row, out):
    """Write SiLU of each number."""
    for d in range(len(row)):
        out[d] = row[d] * sigmoid(row[d])


@njit(**KERNEL)
def silu_backward(row, slopes):
    """Turn gradients of SiLU's output into those of its input, in place."""
    for d in range(len(row)):
        s = sigmoid(row[d])
        weight = row[d] * s
        slopes[d] *= s + weight - weight * s


def exponential(x):
    """exp(x), float32 or float64."""
    return math.exp(x)


@overload(exponential, inline="always")
def _exponential(x):
    return _exponential32 if x == types.float32 else lambda x: math.exp(x)


def _exponential32(x):
    x = min(max(x, -LARGEST), LARGEST)
    power = np.floor(x * LOG2_E + HALF)
    f = x - power * LN2_HIGH - power * LN2_LOW
    tail = ((((C0 * f + C1) * f + C2) * f + C3) * f + C4) * f + C5
    return _times_power_of_two(tail * f * f + f + ONE, power)  # pyright: ignore[reportCallIssue]


@intrinsic
def _times_power_of_two(typing_context, value, power):
    """Value * 2^power for a whole float32 ``power`` within -126 to 127, by its exponent's bits."""

    def codegen(context, builder, signature, args):
        integer = ir.IntType(32)
        exponent = builder.add(builder.fptosi(args[1], integer), ir.Constant(integer, 127))
        bits = builder.shl(exponent, ir.Constant(integer, 23))
        return builder.fmul(args[0], builder.bitcast(bits, ir.FloatType()))

    return types.float32(types.float32, types.float32), codegen
