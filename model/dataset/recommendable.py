"""What may be recommended at all, and whether that is enough for everyone: asked before training.

The submission asks again, of what it really recommends; that is hours later.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.csr import positions_of
from model.dataset.interactions import Interactions
from model.errors import InputError

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.params import CascadeParams

logger = logging.getLogger("onepiece")

NUM_RECOMMENDATIONS = 10
_USERS_AT_ONCE = 100_000


def require_enough_candidates(
    interactions: Interactions, counts: np.ndarray, params: "CascadeParams"
) -> None:
    """Refuse data of which nobody can be recommended ten items; name a user who cannot.

    Data without a single event is let pass: vectors are all that is there.

    Args:
        interactions: events and candidates.
        counts: (num_items + 1,) training events per item.
        params: the filters.

    Raises:
        InputError: fewer than ten candidates are left by ``filter_cold`` and ``blocked_items``.
    """
    if not interactions.num_events:
        return
    blocked: np.ndarray | tuple[int, ...] = ()
    if params.blocked_items:
        blocked = find_items(interactions, params.blocked_items).drop_null().to_numpy() + 1
    allowed = may_be_recommended(
        interactions, counts, filter_cold=params.filter_cold, blocked=blocked
    )
    left = int(allowed.sum())
    if left < NUM_RECOMMENDATIONS:
        raise InputError(
            f"only {left} of {len(interactions.candidate_item_ids):,} candidates may be "
            f"recommended and every user gets {NUM_RECOMMENDATIONS}; add candidates to the raw "
            "files, or relax cascade.filter_cold or blocked_items"
        )
    short = _users_who_saw_too_much(interactions, allowed, left, params.filter_history)
    if len(short):
        logger.warning(
            "user %s (of %d such users) has seen so many of the %d items that may be recommended "
            "that fewer than %d are left; a submission will be refused unless there are more "
            "candidates or cascade.filter_history is relaxed",
            interactions.raw_user_ids[int(short[0])],
            len(short),
            left,
            NUM_RECOMMENDATIONS,
        )


def may_be_recommended(
    interactions: Interactions,
    training_counts: np.ndarray,
    *,
    filter_cold: bool,
    blocked: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """(num_items + 1,) bool: candidates that are not ruled out for everyone.

    Args:
        interactions: gives the candidates.
        training_counts: (num_items + 1,) training events per item.
        filter_cold: rule out candidates without a training event.
        blocked: (N,) item ids that the caller rules out.
    """
    allowed = np.zeros(interactions.num_items + 1, bool)
    allowed[interactions.candidate_item_ids] = True
    if filter_cold:
        allowed &= training_counts > 0
    allowed[np.asarray(blocked, np.int64)] = False
    allowed[0] = False
    return allowed


def find_items(interactions: Interactions, raw_ids: Sequence[int | str]) -> pa.Int32Array:
    """(N,) places of raw ids among those of all items, null for one that is none of them."""
    wanted = pa.array([str(raw_id) for raw_id in raw_ids], pa.large_string())
    return pc.index_in(wanted, value_set=interactions.raw_item_ids.cast(pa.large_string()))


def _users_who_saw_too_much(
    interactions: Interactions, allowed: np.ndarray, left: int, action_types: list[int]
) -> np.ndarray:
    """(S,) int64 users for whom fewer than ten are left; only long histories are looked at."""
    lengths = np.diff(interactions.offsets)
    suspects = np.flatnonzero(lengths > left - NUM_RECOMMENDATIONS)
    found = [np.empty(0, np.int64)]
    for first in range(0, len(suspects), _USERS_AT_ONCE):
        users = suspects[first : first + _USERS_AT_ONCE]
        events = positions_of(interactions.offsets[:-1][users], lengths[users])
        owners = np.repeat(np.arange(len(users)), lengths[users])
        items = interactions.item_ids[events]
        hidden = np.isin(interactions.action_types[events], action_types) & allowed[items]
        pairs = np.unique(owners[hidden] * len(allowed) + items[hidden])
        seen = np.bincount(pairs // len(allowed), minlength=len(users))
        found.append(users[seen > left - NUM_RECOMMENDATIONS])
    return np.concatenate(found)
