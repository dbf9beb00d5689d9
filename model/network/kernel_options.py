"""How numba compiles the kernels: options of ``njit``.

Whoever installs OnePiece waits once until all are compiled, so kernels avoid what takes numba
seconds: sums over an axis, ``np.diff``, assigning an array to a slice (its error message alone),
and passing on the index of a ``prange``, which is typed as int64 first and as uint64 later, so that
everything it reaches is compiled twice; ``np.int64(index)`` is not.
"""

from typing import Any

# NaN and infinity propagate, so that a diverging run and damaged weights are noticed.
_FASTMATH = {"contract", "nsz", "arcp"}

KERNEL: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _FASTMATH}
# For sums in any order, which would not be vectorised otherwise.
KERNEL_ANY_ORDER: dict[str, Any] = {**KERNEL, "fastmath": {*_FASTMATH, "reassoc"}}
