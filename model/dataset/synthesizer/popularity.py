"""How often each item shall occur: a few items carry half of the events, most are hardly seen."""

from collections.abc import Callable

import numpy as np

from model.dataset.synthesizer.published import TOP_PERCENT_SHARE

_QUANTILES = np.array([0.0, 0.25, 0.5, 0.73])
_COUNTS = np.array([0.05, 0.3, 0.95, 3.3])  # expected, beyond one occurrence of each item
_TAIL = 0.99
_HEAD_SHARE = TOP_PERCENT_SHARE + 0.05  # some of it is lost again, since repeats are drawn anew
_LARGEST_SHARE_OF_USERS = 0.24
_STEPS = 80


def expected_counts(num_items: int, num_events: float, num_users: int) -> np.ndarray:
    """Expected occurrences beyond the first one, ascending.

    The lower three quarters follow the published counts; above, the curve rises just so that the
    sum is ``num_events`` and the top 1 % of items have half of it.

    Args:
        num_items: at least 2.
        num_events: their sum.
        num_users: no item is seen by more than about a third of them, since repeats are rare.

    Returns:
        (num_items,) float64. In a world too small for the published shape the sum is kept.
    """
    quantiles = (np.arange(num_items) + 0.5) / num_items
    cap = max(_LARGEST_SHARE_OF_USERS * num_users, 1.5 * num_events / num_items)
    top = quantiles >= _TAIL
    body = np.exp(np.interp(quantiles, _QUANTILES, np.log(_COUNTS)))
    rise = np.clip((quantiles - _QUANTILES[-1]) / (_TAIL - _QUANTILES[-1]), 0.0, 1.0)
    steep = np.where(top, -np.log((1.0 - quantiles) / (1.0 - _TAIL)), 0.0)
    wanted = num_events * (1.0 - _HEAD_SHARE)

    def middle(power: float) -> np.ndarray:
        return np.minimum(body * np.exp(power * rise**1.3), cap)

    power = _solve(lambda value: middle(value)[~top].sum(), wanted, 0.0, 20.0)
    counts = middle(power)

    def whole(value: float) -> np.ndarray:
        return np.where(top, np.minimum(counts * np.exp(value * steep), cap), counts)

    if top.any():
        counts = whole(_solve(lambda value: whole(value).sum(), num_events, 0.0, 5.0))
    return counts * (num_events / counts.sum())


def _solve(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a rising function reaches ``wanted``, or the nearer end of the interval."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return 0.5 * (low + high)
