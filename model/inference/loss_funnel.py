"""Where the cascade lost the target: before it, in the beams, in the ranking, in a filter."""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from model.inference.cascade import BACK_FILL, NUM_RECOMMENDATIONS, Ranked
from model.inference.catalogue import Catalogue
from model.inference.recommender import Proposals


class Fate(IntEnum):
    """What became of a user's target; the first that applies."""

    NOT_A_CANDIDATE = 0
    COLD_FILTERED = 1  # a candidate without a training event
    SEEN_FILTERED = 2  # in the user's own history
    HIT = 3  # among the ten, proposed by a beam
    HIT_BY_BACK_FILL = 4  # among the ten, found by search
    NO_SEMANTIC_ID = 5
    NOT_AMONG_BEAMS = 6
    CAPPED = 7  # would be among the ten without the cap on its group
    RANKED_BELOW_TEN = 8
    BLOCKED = 9  # on the caller's block list; takes precedence over COLD_FILTERED


def fates(
    catalogue: Catalogue,
    proposals: Proposals,
    ranked: Ranked,
    target_rows: Tensor,
    is_candidate: Tensor,
    is_blocked: Tensor,
    uncapped: Ranked,
    *,
    has_beams: bool,
) -> np.ndarray:
    """The fate of each user's target.

    Args:
        catalogue: the allowed items.
        proposals: of the beams.
        ranked: the cascade's lists.
        target_rows: (B,) int64 catalogue rows, -1 where the target is not allowed.
        is_candidate: (B,) bool.
        is_blocked: (B,) bool, on the caller's block list.
        uncapped: the lists as they would be without the cap on groups.
        has_beams: False where search alone answers, and no target can be lost in beams.

    Returns:
        (B,) int8 of :class:`Fate`.
    """
    wanted = target_rows[:, None]  # what meets -1 here is overwritten below
    shown = ranked.rows[:, :NUM_RECOMMENDATIONS] == wanted
    filled = ranked.path[:, :NUM_RECOMMENDATIONS] == BACK_FILL
    earned = (uncapped.rows[:, :NUM_RECOMMENDATIONS] == wanted).any(dim=1)
    proposed = (proposals.rows == wanted).any(dim=1)
    has_sid = (catalogue.sids[target_rows.clamp(min=0)] > 0).all(dim=1)
    result = torch.full_like(target_rows, Fate.RANKED_BELOW_TEN)
    # In reverse order of precedence: the last assignment wins.
    result[earned] = Fate.CAPPED
    if has_beams:
        result[~proposed & ~earned] = Fate.NOT_AMONG_BEAMS
        result[~has_sid & ~earned] = Fate.NO_SEMANTIC_ID
    result[(shown & filled).any(dim=1)] = Fate.HIT_BY_BACK_FILL
    result[(shown & ~filled).any(dim=1)] = Fate.HIT
    result[proposals.seen.contains(target_rows[:, None])[:, 0]] = Fate.SEEN_FILTERED
    result[target_rows < 0] = Fate.COLD_FILTERED
    result[is_blocked] = Fate.BLOCKED
    result[~is_candidate] = Fate.NOT_A_CANDIDATE
    return result.to(torch.int8).cpu().numpy()


def count_fates(fate: np.ndarray, weights: np.ndarray) -> dict[str, dict[str, float]]:
    """Number of users and share of the weight per fate; they add up to all users and to 1."""
    users = np.bincount(fate, minlength=len(Fate))
    weight = np.bincount(fate, weights=weights, minlength=len(Fate)) / weights.sum()
    return {
        kind.name.lower(): {"users": int(users[kind]), "share": float(weight[kind])}
        for kind in Fate
    }
