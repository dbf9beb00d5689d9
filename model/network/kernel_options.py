"""How numba compiles the kernels: options of ``njit``."""

from typing import Any

# NaN and infinity stay what they are, so that a diverging run and damaged weights are seen.
_FASTMATH = {"contract", "nsz", "arcp"}

KERNEL: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _FASTMATH}
# Where sums may take any order, or they would not be vectors.
KERNEL_ANY_ORDER: dict[str, Any] = {**KERNEL, "fastmath": {*_FASTMATH, "reassoc"}}
