"""How numba compiles the kernels: options of ``njit``."""

from typing import Any

# NaN and infinity propagate, so that a diverging run and damaged weights are noticed.
_FASTMATH = {"contract", "nsz", "arcp"}

KERNEL: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _FASTMATH}
# For sums in any order, which would not be vectorised otherwise.
KERNEL_ANY_ORDER: dict[str, Any] = {**KERNEL, "fastmath": {*_FASTMATH, "reassoc"}}
