"""Which items may be recommended at all, and whether they suffice for every user.

Checked before anything is trained or measured, since ``cascade`` may change at any time, and again
when a submission is made, which is hours later.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from model.dataset.csr import positions_of
from model.dataset.interactions import Interactions, items_named
from model.errors import InputError

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.params import CascadeParams

logger = logging.getLogger("onepiece")

NUM_RECOMMENDATIONS = 10
_USERS_AT_ONCE = 100_000
_OTHERWISE = "relax cascade.filter_history, or take such users' events out of the raw files"


def require_enough_candidates(
    interactions: Interactions,
    counts: np.ndarray,
    params: "CascadeParams",
    *,
    of_everyone: bool = False,
) -> None:
    """Refuse data with fewer than ten items to recommend; warn of users who have too few left.

    Data without a single event passes: it consists of vectors only.

    Args:
        interactions: events and candidates.
        counts: (num_items + 1,) training events per item.
        params: the filters.
        of_everyone: also refuse data where a single user has fewer than ten left, which otherwise
            is only a warning: a model can be measured without that user.

    Raises:
        InputError: fewer than ten candidates are left by ``filter_cold``, ``blocked_items`` and
            ``max_per_group``, or one of these names something that is not in the data.
    """
    if not interactions.num_events:
        return
    blocked = blocked_items(interactions, params.blocked_items)
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
    _require_enough_within_cap(interactions, np.flatnonzero(allowed), params)
    short = _users_who_saw_too_much(interactions, allowed, params)
    if len(short) == 0:
        return
    within = " within cascade.max_per_group" if params.max_per_group else ""
    sentence = (
        f"user {interactions.raw_user_ids[int(short[0])]} (of {len(short)} such users) has seen so "
        f"many of the {left} items that may be recommended that fewer than {NUM_RECOMMENDATIONS} "
        f"are left{within}"
    )
    if of_everyone:
        raise InputError(f"{sentence}; allow more candidates, {_OTHERWISE}")
    _warn(f"{sentence}; a submission will be refused: allow more candidates, {_OTHERWISE}")


@cache
def _warn(sentence: str) -> None:
    """Say it once in this process: several steps of a run ask the same question."""
    logger.warning("%s", sentence)


def _require_enough_within_cap(
    interactions: Interactions, item_ids: np.ndarray, params: "CascadeParams"
) -> None:
    cap = params.max_per_group
    if not cap:
        return
    sizes = np.bincount(item_groups(interactions, item_ids, params.group_feature), minlength=1)
    most = int(sizes[0] + np.minimum(sizes[1:], cap).sum())  # 0 is no group and uncapped
    if most < NUM_RECOMMENDATIONS:
        raise InputError(
            f"cascade.max_per_group: {cap} of each of the {np.count_nonzero(sizes[1:])} values of "
            f"{params.group_feature!r} leaves {most} items and every user gets "
            f"{NUM_RECOMMENDATIONS}; raise it, or set it to 0"
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


def blocked_items(interactions: Interactions, raw_ids: Sequence[int | str]) -> np.ndarray:
    """The caller's block list as item ids, (N,) int64.

    Args:
        interactions: hold the raw ids.
        raw_ids: ``cascade.blocked_items``.

    Raises:
        InputError: an id is not in this data.
    """
    if len(raw_ids) == 0:
        return np.zeros(0, np.int64)
    texts = [str(raw_id) for raw_id in raw_ids]
    items = items_named(interactions, texts)
    if not items.all():
        unknown = texts[items.argmin()]
        raise InputError(
            f"cascade.blocked_items names {unknown!r}, which is no item of this data; take it out "
            "or write the id as the input does"
        )
    return items


def item_groups(
    interactions: Interactions, item_ids: np.ndarray, group_feature: str | None
) -> np.ndarray:
    """(C,) int64 values of a scalar item feature, 0 without one or where it is missing.

    Args:
        interactions: hold the feature.
        item_ids: (C,).
        group_feature: whose values ``cascade.max_per_group`` caps; None caps nothing.

    Raises:
        InputError: it is no scalar feature of this data.
    """
    if group_feature is None:
        return np.zeros(len(item_ids), np.int64)
    if group_feature not in interactions.items.scalars:
        raise InputError(
            f"cascade.group_feature: {group_feature!r} is no item feature of this data; choose one "
            f"of {sorted(interactions.items.scalars)} or set cascade.max_per_group to 0"
        )
    return interactions.items.scalars[group_feature][item_ids].astype(np.int64)


def _users_who_saw_too_much(
    interactions: Interactions, allowed: np.ndarray, params: "CascadeParams"
) -> np.ndarray:
    """(S,) int64 users for whom fewer than ten are left; only long histories are checked."""
    feature = params.group_feature if params.max_per_group else None
    groups = item_groups(interactions, np.arange(len(allowed)), feature)
    sizes = np.bincount(groups[allowed], minlength=int(groups.max()) + 1)
    caps = np.full_like(sizes, params.max_per_group)
    caps[0] = sizes[0]  # no group, and uncapped
    kept = np.minimum(sizes, caps)
    bearable = int(kept.sum()) - NUM_RECOMMENDATIONS
    lengths = np.diff(interactions.offsets)
    suspects = np.flatnonzero(lengths > bearable)
    found = [np.empty(0, np.int64)]
    for first in range(0, len(suspects), _USERS_AT_ONCE):
        users = suspects[first : first + _USERS_AT_ONCE]
        events = positions_of(interactions.offsets[:-1][users], lengths[users])
        owners = np.repeat(np.arange(len(users)), lengths[users])
        items = interactions.item_ids[events]
        hidden = np.isin(interactions.action_types[events], params.filter_history) & allowed[items]
        pairs = np.unique(owners[hidden] * len(allowed) + items[hidden])
        owners, items = np.divmod(pairs, len(allowed))
        cells, seen = np.unique(owners * len(sizes) + groups[items], return_counts=True)
        owners, group = np.divmod(cells, len(sizes))
        lost = kept[group] - np.minimum(sizes[group] - seen, caps[group])
        found.append(users[np.bincount(owners, lost, minlength=len(users)) > bearable])
    return np.concatenate(found)
