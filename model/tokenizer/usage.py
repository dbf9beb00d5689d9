"""How evenly a level's codes are used."""

from typing import Any

import numpy as np

from model.metrics import gini

_HALF, _TIMES_EVEN = 0.5, 1.9
_BARS = 256  # of a histogram: 16,384 would show no more


def collapsed_share(size: int) -> float:
    """Share of all items that one of ``size`` first codes may hold; with more, IDs say nothing.

    One half; with two or three codes, of which an even spread comes close to that, 95 or 63 %.
    """
    return max(_HALF, _TIMES_EVEN / size)


def largest_share(codes: np.ndarray) -> float:
    """Share of the items that have the most frequent of their (N,) codes."""
    return float(np.bincount(codes).max() / len(codes))


def usage_bars(codes: np.ndarray, size: int) -> dict[str, Any]:
    """A level's codes as a histogram, most used first.

    Args:
        codes: (N,) from 0.
        size: codes that exist.

    Returns:
        ``used`` codes, and ``bars``: items per code, each the mean of equally many codes where
        there are more than can be drawn.
    """
    counts = np.sort(np.bincount(codes, minlength=size))[::-1]
    num_bars = min(size, _BARS)
    edges = np.arange(num_bars + 1) * size // num_bars
    return {
        "used": int(np.count_nonzero(counts)),
        "bars": (np.add.reduceat(counts, edges[:-1]) / np.diff(edges)).round(2).tolist(),
    }


def level_usage(codes: np.ndarray, size: int) -> dict[str, Any]:
    """Usage statistics of one level's codes.

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
