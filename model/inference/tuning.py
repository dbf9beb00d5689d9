"""How much the beam's log-probability counts in the score: tuned on validation users.

All weights of a small grid are tried on the same proposals; the best NDCG@10 wins, and of equals
the smaller weight. Zero is in the grid: the blend cannot lose on the users that it was tuned on.
"""

from dataclasses import dataclass

import numpy as np
import torch

from model import metrics
from model.errors import InputError
from model.inference.cascade import rescore
from model.inference.recommender import Recommender

GRID = (0.0, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4)


@dataclass(frozen=True)
class Tuning:
    """What was tried.

    Attributes:
        beam_weight: the best.
        users: validation users that it was chosen on.
        table: per weight of the grid its NDCG@10 and HR@10 on the proposals alone.
    """

    beam_weight: float
    users: int
    table: list[dict[str, float]]


def tune_beam_weight(
    recommender: Recommender, users: np.ndarray, action_weights: tuple[float, float, float]
) -> Tuning:
    """Choose ``beam_weight`` for the best NDCG@10 on validation targets.

    Args:
        recommender: proposes.
        users: (U,) user indices with a validation target.
        action_weights: weight of a user by the action of the target.

    Raises:
        InputError: no validation user, or none that weighs anything.
    """
    if len(users) == 0:
        raise InputError(
            "cascade.beam_weight is 'validation' and no user has a validation target; raise "
            "interactions.split.validation_fraction or give a number"
        )
    interactions = recommender.interactions
    ranks: list[list[np.ndarray]] = [[] for _ in GRID]
    weights = []
    for proposals in recommender.propose("validation", users):
        events = interactions.validation_event[proposals.users]
        targets = recommender.catalogue.rows[interactions.item_ids[events]]
        is_target = proposals.rows == torch.from_numpy(targets).to(proposals.rows)[:, None]
        is_target &= proposals.rows >= 0
        weights.append(np.asarray(action_weights)[interactions.action_types[events]])
        for tried, beam_weight in zip(ranks, GRID, strict=True):
            scores = rescore(
                proposals,
                recommender.catalogue.log_q,
                logq_weight=recommender.params.logq_weight,
                beam_weight=beam_weight,
            )
            order = scores.sort(dim=1, descending=True, stable=True)
            found = is_target.gather(1, order.indices) & (order.values > -torch.inf)
            place = found.to(torch.int8).argmax(dim=1) + 1
            tried.append(torch.where(found.any(dim=1), place, 0).cpu().numpy())
    weight = np.concatenate(weights)
    table = []
    for tried, beam_weight in zip(ranks, GRID, strict=True):
        rank = np.concatenate(tried)
        table.append(
            {
                "beam_weight": beam_weight,
                "ndcg@10": metrics.ndcg(rank, 10, weight),
                "hr@10": metrics.hit_rate(rank, 10, weight),
            }
        )
    best = max(table, key=lambda row: (row["ndcg@10"], -row["beam_weight"]))
    return Tuning(beam_weight=best["beam_weight"], users=len(users), table=table)
