"""Expected counts of the items: a few items have half of the events, most are hardly seen."""

from collections.abc import Callable

import numpy as np

from model.dataset.synthesizer.published import COUNT_AT_90_PERCENT, TOP_PERCENT_SHARE

_QUANTILES = np.array([0.0, 0.25, 0.5, 0.73])
_COUNTS = np.array([0.05, 0.3, 0.95, 3.6])  # expected, beyond one occurrence of each item
_HEAD, _TAIL = 0.9, 0.99
_HEAD_SHARE = TOP_PERCENT_SHARE + 0.05  # some of it is lost, since repeats are redrawn
_LARGEST_SHARE_OF_USERS = 0.24
_HEAD_COUNT = 0.75 * COUNT_AT_90_PERCENT  # repeats that are redrawn add the rest
_BENDS = (1.0, 4.0)  # exponents of the logarithm's rise: from linear to one near the top
_GRID, _STEPS = 2000, 40


def expected_counts(num_items: int, num_events: float, num_users: int) -> np.ndarray:
    """Expected occurrences beyond the first one, ascending.

    The lower three quarters and the 90 % quantile follow the published counts; above, the curve
    rises just so that the sum is ``num_events`` and the top 1 % of items have half of it.

    Args:
        num_items: at least 2.
        num_events: their sum.
        num_users: no item is seen by more than about a third of them, since repeats are rare.

    Returns:
        (num_items,) float64. In a world too small for the published shape the sum is kept.
    """
    cap = max(_LARGEST_SHARE_OF_USERS * num_users, 1.5 * num_events / num_items)
    quantiles = (np.arange(num_items) + 0.5) / num_items
    top = quantiles >= _TAIL
    mean_below = num_events * (1.0 - _HEAD_SHARE) / max(1, (~top).sum())
    counts = np.minimum(_below_the_top(mean_below, cap)(quantiles), cap)
    if top.any():
        steep = np.where(top, -np.log((1.0 - quantiles) / (1.0 - _TAIL)), 0.0)

        def whole(power: float) -> np.ndarray:
            return np.where(top, np.minimum(counts * np.exp(power * steep), cap), counts)

        counts = whole(_solve(lambda power: whole(power).sum(), num_events, 0.0, 5.0))
    return counts * (num_events / counts.sum())


def _below_the_top(mean: float, cap: float) -> Callable[[np.ndarray], np.ndarray]:
    """The curve of counts by quantile whose mean below the top 1 % is ``mean``.

    It is fitted on a grid of quantiles, so that it costs the same for any number of items.
    """
    grid = (np.arange(_GRID) + 0.5) / _GRID * _TAIL

    def curve(power: float, bend: float, quantiles: np.ndarray) -> np.ndarray:
        body = np.exp(np.interp(quantiles, _QUANTILES, np.log(_COUNTS)))
        rise = np.clip((quantiles - _QUANTILES[-1]) / (_TAIL - _QUANTILES[-1]), 0.0, 1.0)
        return np.minimum(body * np.exp(power * rise**bend), cap)

    def power_of(bend: float) -> float:
        return _solve(lambda power: curve(power, bend, grid).mean(), mean, 0.0, 20.0)

    def at_head(bend: float) -> float:
        return float(curve(power_of(bend), bend, np.array([_HEAD]))[0])

    bend = _solve(lambda bend: -at_head(bend), -_HEAD_COUNT, *_BENDS)
    power = power_of(bend)
    return lambda quantiles: curve(power, bend, quantiles)


def _solve(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a rising function reaches ``wanted``, or the nearer end of the interval."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return 0.5 * (low + high)
