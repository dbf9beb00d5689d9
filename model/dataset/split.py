"""Train, validation and test split: each user's targets as indices into the flat events.

A target always has at least one event before it, to be predicted from. A user with a single event
is all training data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.dataset.interactions import EXPOSURE, Interactions
from model.errors import InputError

if TYPE_CHECKING:
    from model.params import SplitParams, SplitStrategy

Part = Literal["validation", "test", "submission"]
HeldOut = Literal["validation", "test"]
_VALIDATES = {  # what a user needs for a validation target
    "leave_one_out": "three events",
    "last_positive": "two clicks or conversions after a first event",
}


@dataclass(frozen=True)
class Split:
    """Per user, all (num_users,) int64; meanings as in ``Interactions``."""

    train_end: np.ndarray
    validation_event: np.ndarray
    test_event: np.ndarray


def split_events(
    offsets: np.ndarray, action_types: np.ndarray, strategy: "SplitStrategy", validates: np.ndarray
) -> Split:
    """Choose the targets.

    Args:
        offsets: (num_users + 1,) int64, where each user's events begin.
        action_types: (num_events,) int8.
        strategy: which events they are.
        validates: (num_users,) bool, the users that give a validation target if they have one.
    """
    if strategy == "leave_one_out":
        test = _at_least_second(offsets[1:] - 1, offsets)
        validation = _at_least_second(test - 1, offsets)
    else:
        positives = np.flatnonzero(action_types != EXPOSURE)
        test = _at_least_second(_last_before(positives, offsets[1:]), offsets)
        validation = _at_least_second(_last_before(positives, test), offsets)
    validation = np.where(validates, validation, -1)
    train_end = np.where(validation >= 0, validation, np.where(test >= 0, test, offsets[1:]))
    return Split(train_end=train_end, validation_event=validation, test_event=test)


def require_targets(
    interactions: Interactions, params: "SplitParams", action_weights: Sequence[float]
) -> None:
    """Refuse data on which no model could be evaluated; called before one is trained.

    Validation targets choose the champion, and without one nothing is submitted. A user who has one
    has a test target as well. Data without a single event pass: they have vectors only.

    Args:
        interactions: hold the targets.
        params: of the split, for the remedy.
        action_weights: ``evaluation_report.action_weights``.

    Raises:
        InputError: no user has a validation target, or all targets of validation or of test have
            weight 0.
    """
    if not interactions.num_events:
        return
    validating = np.flatnonzero(interactions.validation_event >= 0)
    if len(validating) == 0:
        remedies = [f"bring users with {_VALIDATES[params.strategy]}"]
        if params.validation_fraction < 1.0:
            remedies.append("raise validation_fraction")
        if params.strategy == "last_positive":
            remedies.append("choose leave_one_out")
        raise InputError(
            f"interactions.split: by {params.strategy} no user has a validation target, and no "
            f"model could be measured; {' or '.join(remedies)}"
        )
    testing = np.flatnonzero(interactions.test_event >= 0)
    user_weights(interactions, validating, "validation", action_weights)
    user_weights(interactions, testing, "test", action_weights)


def user_weights(
    interactions: Interactions,
    users: np.ndarray,
    part: HeldOut,
    action_weights: Sequence[float],
) -> np.ndarray:
    """(U,) float64 weight of each user by the action of the target.

    Args:
        interactions: hold the targets.
        users: (U,) int64 user indices, all with such a target.
        part: which target.
        action_weights: of an exposure, a click, a conversion.

    Raises:
        InputError: all weights are 0.
    """
    actions = interactions.action_types[_targets(interactions, part)[users]]
    weights = np.asarray(action_weights)[actions]
    if weights.sum() == 0:
        raise InputError(
            f"evaluation_report.action_weights {list(action_weights)} gives no weight to the "
            f"actions of the {part} targets (only {np.unique(actions).tolist()} occur, of 0 "
            "exposure, 1 click, 2 conversion); give one of them a weight above 0"
        )
    return weights


def history_ends(interactions: Interactions, users: np.ndarray, part: Part) -> np.ndarray:
    """(B,) int64, one past each user's last event that may be seen; -1 without such a target.

    Everything before the target; for a submission, everything.

    Args:
        interactions: hold the targets.
        users: (B,) int64 user indices.
        part: which target.
    """
    if part == "submission":
        return np.asarray(interactions.offsets[users + 1])
    return np.asarray(_targets(interactions, part)[users])


def sample_users(events: np.ndarray, max_users: int, seed: int) -> np.ndarray:
    """Users that have a target, (N,) int64 ascending.

    Args:
        events: (num_users,) int64 their targets, -1 for none.
        max_users: a seeded sample where there are more.
        seed: of the sample.
    """
    users = np.flatnonzero(np.asarray(events) >= 0)
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    return users


def sample_test_users(interactions: Interactions, max_users: int, seed: int) -> np.ndarray:
    """As :func:`sample_users`, of users with a test target.

    Raises:
        InputError: no user has one.
    """
    users = sample_users(interactions.test_event, max_users, seed)
    if len(users) == 0:
        raise InputError(
            "no user has a test target; check interactions.split.strategy against the data"
        )
    return users


def _targets(interactions: Interactions, part: HeldOut) -> np.ndarray:
    return interactions.validation_event if part == "validation" else interactions.test_event


def _last_before(events: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(U,) the largest of the ascending ``events`` below each end, -1 where there is none."""
    padded = np.concatenate([[-1], events])
    return padded[np.searchsorted(events, ends, side="left")]


def _at_least_second(targets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Targets that are not their user's first event (or of an earlier user), others -1."""
    return np.where(targets > offsets[:-1], targets, -1)
