"""The checks that a set of recommendations passes before it becomes a submission."""

from collections.abc import Iterator

import numpy as np
import torch

from model.dataset.interactions import Interactions
from model.errors import InputError
from model.inference.cascade import NUM_RECOMMENDATIONS, Recommendations
from model.inference.filters import Seen, seen_items

USERS_AT_ONCE = 10_000  # whose histories are checked together


def validate_recommendations(
    made: Recommendations,
    interactions: Interactions,
    allowed: np.ndarray,
    *,
    filter_history: list[int],
) -> None:
    """Require ten distinct allowed items with finite scores per user, none from the history.

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
            f"recommendations hold {len(made.user_indices):,} users and the data "
            f"{interactions.num_users:,}, or their order differs; make the submission again"
        )
    rows = np.full(interactions.num_items + 1, -1, np.int64)
    rows[allowed] = np.arange(len(allowed))

    for first in range(0, len(made.item_ids), USERS_AT_ONCE):
        users = slice(first, first + USERS_AT_ONCE)
        items = made.item_ids[users]
        seen = seen_items(
            interactions,
            made.user_indices[users],
            "submission",
            action_types=filter_history,
            rows=rows,
            num_rows=len(allowed),
        )
        for broken, reason in _rules(items, made.scores[users], rows[items], seen):
            if broken.any():
                user = interactions.raw_user_ids[first + int(broken.argmax())].as_py()
                raise InputError(f"user {user} (of {int(broken.sum()):,} such users): {reason}")


def _rules(
    items: np.ndarray, scores: np.ndarray, rows: np.ndarray, seen: Seen
) -> Iterator[tuple[np.ndarray, str]]:
    """For each rule, a (U,) bool of the users that break it, and the message.

    Args:
        items: (U, 10) int32 item ids, 0 for none.
        scores: (U, 10) float32.
        rows: (U, 10) int64 indices into the allowed items, -1 for any other item.
        seen: what these users have seen, as such indices.
    """
    found = (items > 0).sum(axis=1)
    short = np.asarray(found < NUM_RECOMMENDATIONS)
    yield (
        short,
        f"only {found[short.argmax()]} of {NUM_RECOMMENDATIONS} items are left after the "
        "filters; allow more candidates, or relax cascade.filter_history, filter_cold, "
        "max_per_group or blocked_items",
    )
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    yield twice, "an item is recommended twice; make the submission again"
    yield (
        np.asarray((rows < 0).any(axis=1)),
        "an item is recommended that is not an allowed candidate; make the submission again",
    )
    unknown = np.asarray(~np.isfinite(scores).all(axis=1))
    yield unknown, "a score is not finite; train recommender_checkpoint again"
    hidden = seen.contains(torch.from_numpy(rows)).any(dim=1).numpy()
    yield hidden, "an item of the history is recommended; make the submission again"
