"""Ranking metrics from ranks, the competition's score, Gini, and bootstrap intervals.

A rank is the 1-based place of the one relevant item in a user's list; 0 means that the list does
not hold it. Every metric is a mean over users, weighted where weights are given (in the
competition's second round a conversion weighs 2.5, a click 1).
"""

import numpy as np

from model.errors import InputError

HIT_RATE_SHARE, NDCG_SHARE = 0.31, 0.69  # of the competition's score, both at ten
COMPETITION_CUTOFF = 10
CONFIDENCE = 0.95  # probability mass of an interval


def ranks_in_lists(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rank of each user's target in the user's list.

    Args:
        lists: (U, K) items by any number, best first, -1 past the end of a short list.
        targets: (U,) items by the same number, -1 for one that has none and is in no list.

    Returns:
        (U,) int64, 1-based; 0 where the list lacks the target.
    """
    found = (lists == targets[:, None]) & (targets >= 0)[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int64)


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) float64: 1 where the target is among the first ``k``."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def discounted_gains(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) float64: 1 / log2(rank + 1) among the first ``k``, else 0: NDCG of one item."""
    return hits(ranks, k) / np.log2(np.maximum(ranks, 1) + 1.0)


def reciprocal_ranks(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) float64: 1 / rank among the first ``k``, else 0."""
    return hits(ranks, k) / np.maximum(ranks, 1)


def competition_gains(ranks: np.ndarray) -> np.ndarray:
    """(U,) float64: each user's part of the competition's score."""
    return HIT_RATE_SHARE * hits(ranks, COMPETITION_CUTOFF) + NDCG_SHARE * discounted_gains(
        ranks, COMPETITION_CUTOFF
    )


def hit_rate(ranks: np.ndarray, k: int, weights: np.ndarray | None = None) -> float:
    """HR@k.

    Args:
        ranks: (U,) int64.
        k: cutoff.
        weights: (U,) of the users.

    Raises:
        InputError: no user, or none with a weight above 0.
    """
    return weighted_mean(hits(ranks, k), weights)


def ndcg(ranks: np.ndarray, k: int, weights: np.ndarray | None = None) -> float:
    """NDCG@k with one relevant item per user.

    Args:
        ranks: (U,) int64.
        k: cutoff.
        weights: (U,) of the users.

    Raises:
        InputError: no user, or none with a weight above 0.
    """
    return weighted_mean(discounted_gains(ranks, k), weights)


def competition_score(ranks: np.ndarray, weights: np.ndarray | None = None) -> float:
    """0.31 HR@10 + 0.69 NDCG@10.

    Args:
        ranks: (U,) int64.
        weights: (U,) of the users.

    Raises:
        InputError: no user, or none with a weight above 0.
    """
    return weighted_mean(competition_gains(ranks), weights)


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean over users.

    Args:
        values: (U,).
        weights: (U,), not negative; None weighs all users the same.

    Raises:
        InputError: no user, or none with a weight above 0.
    """
    if len(values) == 0:
        raise InputError("there is no user to average over; check the split and the candidate set")
    if weights is None:
        return float(np.mean(values))
    total = float(np.sum(weights, dtype=np.float64))
    if total <= 0.0:
        raise InputError(
            "every user weighs 0: evaluation_report.action_weights gives no weight to any action "
            "of this data's targets; give the actions that occur a weight above 0"
        )
    return float(np.dot(values.astype(np.float64), weights.astype(np.float64)) / total)


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of how often items are recommended: 0 if even, towards 1 if one takes all.

    It is the mean absolute difference over twice the mean.

    Args:
        counts: (N,) not negative, zeros included.
    """
    if len(counts) == 0 or np.sum(counts) == 0:
        return 0.0
    ascending = np.sort(counts.astype(np.float64))
    n = len(ascending)
    order = np.arange(1, n + 1)
    return float(2.0 * np.dot(order, ascending) / (n * ascending.sum()) - (n + 1.0) / n)


def bootstrap_intervals(
    gains: np.ndarray,
    weights: np.ndarray,
    *,
    samples: int,
    seed: int,
) -> np.ndarray:
    """Percentile bootstrap intervals of weighted means, users drawn with replacement.

    All columns see the same draws, so that a column of differences gives a paired interval.

    Args:
        gains: (U, M) one column per metric.
        weights: (U,) of the users, or (U, M) where every metric has its own.
        samples: number of draws of U users.
        seed: of the draws.

    Returns:
        (M, 2) float64, lower and upper end.
    """
    num_users, num_metrics = gains.shape
    weights = weights.reshape(num_users, -1)
    columns = np.hstack([gains * weights, weights]).astype(np.float64)
    generator = np.random.default_rng(seed)
    rows_at_once = max(1, 4_000_000 // max(num_users, 1))
    sums = []
    for start in range(0, samples, rows_at_once):
        rows = min(rows_at_once, samples - start)
        draws = generator.integers(num_users, size=(rows, num_users))
        draws += np.arange(rows)[:, None] * num_users
        times = np.bincount(draws.ravel(), minlength=rows * num_users).reshape(rows, num_users)
        sums.append(times.astype(np.float64) @ columns)
    totals = np.concatenate(sums)
    # A draw whose users all have weight 0 has no mean: it counts as no gain.
    weighed = totals[:, num_metrics:]
    means = totals[:, :num_metrics] / np.where(weighed > 0.0, weighed, np.inf)
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    return np.percentile(means, [tail, 100.0 - tail], axis=0).T
