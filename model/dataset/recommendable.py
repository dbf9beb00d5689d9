"""Whether ten items are left for everyone once the cascade has filtered: asked before training.

The submission asks again, of what it really recommends; that is hours later.
"""

import logging
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

LIST_LENGTH = 10
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
    allowed = _allowed(interactions, counts, params)
    left = int(allowed.sum())
    if left < LIST_LENGTH:
        raise InputError(
            f"only {left} of {len(interactions.candidate_item_ids):,} candidates may be "
            f"recommended and every user gets {LIST_LENGTH}; add candidates to the raw files, or "
            "relax cascade.filter_cold or blocked_items"
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
            LIST_LENGTH,
        )


def _allowed(interactions: Interactions, counts: np.ndarray, params: "CascadeParams") -> np.ndarray:
    """(num_items + 1,) bool."""
    allowed = np.zeros(interactions.num_items + 1, bool)
    allowed[interactions.candidate_item_ids] = True
    if params.filter_cold:
        allowed &= counts > 0
    if params.blocked_items:
        blocked = pa.array(map(str, params.blocked_items), pa.large_string())
        raw_ids = interactions.raw_item_ids.cast(pa.large_string())
        allowed[1:] &= ~pc.is_in(raw_ids, value_set=blocked).to_numpy(zero_copy_only=False)
    return allowed


def _users_who_saw_too_much(
    interactions: Interactions, allowed: np.ndarray, left: int, action_types: list[int]
) -> np.ndarray:
    """(S,) int64 users for whom fewer than ten are left; only long histories are looked at."""
    lengths = np.diff(interactions.offsets)
    suspects = np.flatnonzero(lengths > left - LIST_LENGTH)
    found = [np.empty(0, np.int64)]
    for first in range(0, len(suspects), _USERS_AT_ONCE):
        users = suspects[first : first + _USERS_AT_ONCE]
        events = positions_of(interactions.offsets[:-1][users], lengths[users])
        owners = np.repeat(np.arange(len(users)), lengths[users])
        items = interactions.item_ids[events]
        hidden = np.isin(interactions.action_types[events], action_types) & allowed[items]
        pairs = np.unique(owners[hidden] * len(allowed) + items[hidden])
        seen = np.bincount(pairs // len(allowed), minlength=len(users))
        found.append(users[seen > left - LIST_LENGTH])
    return np.concatenate(found)
