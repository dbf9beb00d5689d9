"""How many events a log holds more than once: they are kept, and told."""

import numpy as np

_USERS_AT_ONCE = 16_384


def count_repeated_events(
    offsets: np.ndarray, item_ids: np.ndarray, action_types: np.ndarray, timestamps: np.ndarray
) -> int:
    """Events of which the same user has an equal one: item, action and time.

    Args:
        offsets: (U + 1,) int64, where each user's events begin.
        item_ids: (E,) int32.
        action_types: (E,) int8.
        timestamps: (E,) int64, ascending within a user.

    Returns:
        How many there would be less, were each kept once.
    """
    repeated = 0
    for first in range(0, len(offsets) - 1, _USERS_AT_ONCE):
        ends = offsets[first : first + _USERS_AT_ONCE + 1]
        events = slice(ends[0], ends[-1])
        owners, times = np.repeat(np.arange(len(ends) - 1), np.diff(ends)), timestamps[events]
        tied = np.flatnonzero((owners[1:] == owners[:-1]) & (times[1:] == times[:-1]))
        tied = np.union1d(tied, tied + 1)  # only among equal times can there be equal events
        columns = (action_types[events], item_ids[events], times, owners)
        facts = np.stack([column[tied].astype(np.int64) for column in columns])
        facts = facts[:, np.lexsort(facts)]
        repeated += int((facts[:, 1:] == facts[:, :-1]).all(axis=0).sum())
    return repeated
