"""Count events that a log holds more than once; they are kept, and reported."""

import numpy as np

_USERS_AT_ONCE = 16_384


def count_repeated_events(
    offsets: np.ndarray, item_ids: np.ndarray, action_types: np.ndarray, timestamps: np.ndarray
) -> int:
    """Count events that repeat another one of the same user: item, action and time.

    Args:
        offsets: (U + 1,) int64, where each user's events begin.
        item_ids: (E,) int32.
        action_types: (E,) int8.
        timestamps: (E,) int64, ascending within a user.

    Returns:
        How many fewer events there would be if each were kept once.
    """
    repeated = 0
    for first in range(0, len(offsets) - 1, _USERS_AT_ONCE):
        ends = offsets[first : first + _USERS_AT_ONCE + 1]
        events = slice(ends[0], ends[-1])
        owners, times = np.repeat(np.arange(len(ends) - 1), np.diff(ends)), timestamps[events]
        tied = np.flatnonzero((owners[1:] == owners[:-1]) & (times[1:] == times[:-1]))
        tied = np.union1d(tied, tied + 1)  # equal events have equal times
        columns = (action_types[events], item_ids[events], times, owners)
        facts = np.stack([column[tied].astype(np.int64) for column in columns])
        facts = facts[:, np.lexsort(facts)]
        repeated += int((facts[:, 1:] == facts[:, :-1]).all(axis=0).sum())
    return repeated
