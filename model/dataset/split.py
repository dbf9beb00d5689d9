"""What is held out of each user's history, as indices into the flat events.

A target always has at least one event before it: nothing can be predicted from nothing. A user
with a single event is all training data.
"""

from dataclasses import dataclass

import numpy as np

from model.dataset.interactions import EXPOSURE
from model.params import SplitParams


@dataclass(frozen=True)
class Split:
    """Per user, all (num_users,) int64; meanings as in ``Interactions``."""

    train_end: np.ndarray
    validation_event: np.ndarray
    test_event: np.ndarray


def split_events(
    offsets: np.ndarray, action_types: np.ndarray, params: SplitParams, seed: int
) -> Split:
    """Choose the targets.

    Args:
        offsets: (num_users + 1,) int64, where each user's events begin.
        action_types: (num_events,) int8.
        params: the strategy, and the share of users that validate.
        seed: draws those users.
    """
    if params.strategy == "leave_one_out":
        test = _at_least_second(offsets[1:] - 1, offsets)
        validation = _at_least_second(np.where(test >= 0, test - 1, -1), offsets)
    else:
        positives = np.flatnonzero(action_types != EXPOSURE)
        test = _at_least_second(_last_before(positives, offsets[1:]), offsets)
        validation = _at_least_second(_last_before(positives, test), offsets)
    drawn = np.random.default_rng(seed).random(len(test)) < params.validation_fraction
    validation = np.where(drawn, validation, -1)
    train_end = np.where(validation >= 0, validation, np.where(test >= 0, test, offsets[1:]))
    return Split(train_end=train_end, validation_event=validation, test_event=test)


def _last_before(events: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(U,) the largest of the ascending ``events`` below each end, -1 where there is none."""
    padded = np.concatenate([[-1], events])
    return padded[np.searchsorted(events, ends, side="left")]


def _at_least_second(targets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Targets that are not their user's first event (or of an earlier user), others -1."""
    return np.where(targets > offsets[:-1], targets, -1)
