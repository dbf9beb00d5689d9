"""How much the beam's log-probability counts in the score: tuned on validation users.

All weights of a small grid are tried on the same proposals. The best NDCG@10 wins if it is
significantly above that of the smallest weight, zero: a gain by chance on the users that the weight
was tuned on is as likely to be a loss on others. Where search alone answers, nothing is blended,
and its own ten items are measured. The ranks of the validation targets with the chosen weight are
kept: models are compared by them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model import metrics
from model.dataset.split import user_weights
from model.errors import InputError
from model.inference.cascade import rank, rescore
from model.inference.recommender import Recommender

FEWEST_CHANGED = 10  # users whose gain differs: with fewer, the standard error means nothing
SIGNIFICANT_ERRORS = 1.96  # standard errors: 95 % of chance differences lie within
GRID = (0.0, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4)


@dataclass(frozen=True)
class Tuning:
    """The outcome of the tuning.

    Attributes:
        beam_weight: the chosen one.
        users: validation users that it was chosen on.
        table: per weight of the grid its NDCG@10 and HR@10 on the proposals alone.
        ranks: (users,) int64, of the validation targets with the chosen weight, 1-based, 0 where a
            target is not among the proposals, or not among the ten of search alone.
        weights: (users,) of the users, by the action of the target.
    """

    beam_weight: float
    users: int
    table: list[dict[str, float]]
    ranks: np.ndarray
    weights: np.ndarray


def tune_beam_weight(
    recommender: Recommender,
    users: np.ndarray,
    action_weights: tuple[float, float, float],
    grid: Sequence[float],
) -> Tuning:
    """Choose ``beam_weight`` for the best NDCG@10 on validation targets.

    Args:
        recommender: makes the proposals.
        users: (U,) user indices with a validation target, ascending.
        action_weights: weight of a user by the action of the target.
        grid: the weights to choose from, ascending.

    Raises:
        InputError: no validation user, or none that weighs anything.
    """
    if len(users) == 0:
        raise InputError(
            "no user has a validation target: there is nothing to tune cascade.beam_weight or to "
            "compare models on; raise interactions.split.validation_fraction or, where that is "
            "1.0, add users with longer histories"
        )
    weight = user_weights(recommender.interactions, users, "validation", action_weights)
    ranked = _ranks_of_targets(recommender, users, grid)
    table = [
        {
            "beam_weight": beam_weight,
            "ndcg@10": metrics.ndcg(rank, 10, weight),
            "hr@10": metrics.hit_rate(rank, 10, weight),
        }
        for rank, beam_weight in zip(ranked, grid, strict=True)
    ]
    chosen = choose([metrics.discounted_gains(rank, 10) for rank in ranked], weight)
    return Tuning(grid[chosen], len(users), table, ranked[chosen], weight)


def _ranks_of_targets(
    recommender: Recommender, users: np.ndarray, grid: Sequence[float]
) -> np.ndarray:
    """(G, U) int64 ranks by weight of the grid and user, 0 for a target not proposed."""
    interactions = recommender.interactions
    ranks = np.zeros((len(grid), len(users)), np.int64)
    for proposals in recommender.propose("validation", users):
        events = interactions.validation_event[proposals.users]
        targets = recommender.catalogue.rows[interactions.item_ids[events]]
        places = np.searchsorted(users, proposals.users)
        if recommender.params.num_sids == 0:
            found = rank(recommender, proposals, beam_weight=0.0, cap=0).rows.cpu().numpy()
            ranks[:, places] = metrics.ranks_in_lists(found, targets)
            continue
        is_target = proposals.rows == torch.from_numpy(targets).to(proposals.rows)[:, None]
        is_target &= proposals.rows >= 0
        for tried, beam_weight in zip(ranks, grid, strict=True):
            scores = rescore(
                proposals,
                recommender.catalogue.log_q,
                logq_weight=recommender.params.logq_weight,
                beam_weight=beam_weight,
            )
            tried[places] = _places(scores, is_target).cpu().numpy()
    return ranks


def _places(scores: torch.Tensor, is_target: torch.Tensor) -> torch.Tensor:
    """The rank of each row's target by its score, found without sorting.

    Args:
        scores: (B, K) float32, -inf for what may not be recommended.
        is_target: (B, K) bool, true at most once in a row.

    Returns:
        (B,) int64 1-based ranks, ties in the order of columns; 0 where the target is not among
        those that may be recommended.
    """
    column = is_target.to(torch.int8).argmax(dim=1, keepdim=True)
    own = scores.gather(1, column)
    earlier = torch.arange(scores.shape[1], device=scores.device) < column
    before = (scores > own) | ((scores == own) & earlier)
    present = is_target.any(dim=1) & (own[:, 0] > -torch.inf)
    return torch.where(present, before.sum(dim=1) + 1, 0)


def choose(gains: Sequence[np.ndarray], weights: np.ndarray) -> int:
    """The index of the best gains, or 0 where they are not significantly above the first.

    Args:
        gains: per candidate (U,) float64, of the same users.
        weights: (U,) of the users.
    """
    best = int(np.argmax([metrics.weighted_mean(one, weights) for one in gains]))
    gained = gains[best] - gains[0]
    if np.count_nonzero(gained * weights) < FEWEST_CHANGED:
        return 0
    mean = metrics.weighted_mean(gained, weights)
    error = np.sqrt(np.sum((weights * (gained - mean)) ** 2)) / weights.sum()
    return best if mean > SIGNIFICANT_ERRORS * error else 0
