"""The checks that a set of recommendations passes before it becomes a submission."""

import numpy as np
import torch

from model.dataset.interactions import Interactions
from model.errors import InputError
from model.inference.cascade import NUM_RECOMMENDATIONS, Recommendations
from model.inference.filters import seen_items

USERS_AT_ONCE = 10_000  # whose histories are looked through together


def validate_recommendations(
    made: Recommendations,
    interactions: Interactions,
    allowed: np.ndarray,
    *,
    filter_history: list[int],
) -> None:
    """Ten distinct allowed items with finite scores for each user, none from the history.

    Args:
        made: recommendations of all users.
        interactions: histories and raw ids.
        allowed: (C,) item ids that may be recommended, ascending.
        filter_history: action types whose items are ruled out.

    Raises:
        InputError: the first user that breaks a rule, and the rule.
    """
    if not np.array_equal(made.user_indices, np.arange(interactions.num_users)):
        raise InputError(
            f"recommendations hold {len(made.user_indices):,} users, the data "
            f"{interactions.num_users:,} in another order; make the submission again"
        )
    is_allowed = np.zeros(interactions.num_items + 1, bool)
    is_allowed[allowed] = True
    rows = np.full(interactions.num_items + 1, -1, np.int64)
    rows[allowed] = np.arange(len(allowed))

    def refuse(broken: np.ndarray, first: int, reason: str) -> None:
        if broken.any():
            user = interactions.raw_user_ids[first + int(broken.argmax())].as_py()
            raise InputError(f"user {user} (of {int(broken.sum()):,} such users): {reason}")

    for first in range(0, len(made.item_ids), USERS_AT_ONCE):
        part = slice(first, first + USERS_AT_ONCE)
        items, users = made.item_ids[part], made.user_indices[part]
        found = (items > 0).sum(axis=1)
        short = np.asarray(found < NUM_RECOMMENDATIONS)
        refuse(
            short,
            first,
            f"only {found[short.argmax()]} of {NUM_RECOMMENDATIONS} items are left after the "
            "filters; allow more candidates, or relax cascade.filter_history, filter_cold, "
            "max_per_group or blocked_items",
        )
        ordered = np.sort(items, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        refuse(twice, first, "an item is recommended twice; make the submission again")
        refuse(
            np.asarray(~is_allowed[items].all(axis=1)),
            first,
            "an item is recommended that is no allowed candidate; make the submission again",
        )
        refuse(
            np.asarray(~np.isfinite(made.scores[part]).all(axis=1)),
            first,
            "a score is not finite; train recommender_checkpoint again",
        )
        seen = seen_items(
            interactions,
            users,
            "submission",
            action_types=filter_history,
            rows=rows,
            num_rows=len(allowed),
        )
        hidden = seen.contains(torch.from_numpy(rows[items])).any(dim=1).numpy()
        refuse(hidden, first, "an item of the history is recommended; make the submission again")
