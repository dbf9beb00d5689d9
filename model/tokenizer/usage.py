"""How evenly a level's codes are used."""

from typing import Any

import numpy as np

from model.metrics import gini


def level_usage(codes: np.ndarray, size: int) -> dict[str, Any]:
    """What can be said of one level's codes.

    Args:
        codes: (N,) from 0.
        size: codes that exist.

    Returns:
        ``size``, ``used`` codes, ``gini`` over all codes, ``entropy`` in bits, ``perplexity`` (the
        number of equally used codes of that entropy) and ``largest_share``, of one code.
    """
    counts = np.bincount(codes, minlength=size)
    shares = counts[counts > 0] / len(codes)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0  # not -0.0
    return {
        "size": size,
        "used": len(shares),
        "gini": gini(counts),
        "entropy": entropy,
        "perplexity": 2.0**entropy,
        "largest_share": float(shares.max()),
    }
