"""Make every item of the vocabulary occur: each user gets a few of the rare ones."""

import numpy as np

from model.dataset.interactions import EXPOSURE
from model.dataset.synthesizer.catalogue import Catalogue
from model.dataset.synthesizer.seeds import stream
from model.dataset.synthesizer.timeline import Timeline

_RARE = 10.0  # expected events; more popular ones occur anyway
_MOST_PER_USER = 5
_TYPICAL_AGE = 7 * 86_400.0
_TASTE_SECONDS = 30 * 86_400.0  # how much an event in the same cluster is preferred


def rare_items(catalogue: Catalogue, seed: int) -> np.ndarray:
    """(T,) int32 in random order."""
    rare = np.flatnonzero(~catalogue.cold & (catalogue.expected < _RARE))
    return stream(seed, "rare items").permutation(rare).astype(np.int32)


def place_rare_items(
    items: np.ndarray,
    timeline: Timeline,
    catalogue: Catalogue,
    rare: np.ndarray,
    first_user: int,
    num_users: int,
) -> None:
    """Overwrite one exposure per rare item, near its launch and in its cluster where there is one.

    User u of ``num_users`` gets rare items [u T / U, (u + 1) T / U), five at most.

    Args:
        items: (n, 100) int32, changed in place.
        timeline: of the same users.
        catalogue: the items.
        rare: (T,) from :func:`rare_items`.
        first_user: index of row 0 among all users.
        num_users: of the whole world.
    """
    users = first_user + np.arange(len(items) + 1)
    bounds = users * len(rare) // num_users
    free = timeline.real & (timeline.action_types == EXPOSURE)
    for turn in range(min(_MOST_PER_USER, int(np.diff(bounds).max()))):
        rows = np.flatnonzero((bounds[:-1] + turn < bounds[1:]) & free.any(axis=1))
        given = rare[bounds[rows] + turn]
        late = timeline.timestamps[rows] - (catalogue.launch[given] + _TYPICAL_AGE)[:, None]
        elsewhere = catalogue.cluster[items[rows]] != catalogue.cluster[given][:, None]
        cost = np.abs(late) + _TASTE_SECONDS * elsewhere
        cost[~free[rows]] = np.inf
        column = cost.argmin(axis=1)
        items[rows, column] = given
        free[rows, column] = False
