"""Pack rows of events into one sequence of tokens: the readable version, in numpy.

``packing_kernels`` gives the same bytes in one pass where numba is installed. Reference: 2.1
(layout), 2.2 (context features), 2.5 (next action), 2.6 (leaks).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.csr import offsets_of, positions_of
from model.dataset.interactions import EXPOSURE, Interactions
from model.dataset.item_statistics import ItemStatistics

DAY, HOUR, MINUTE = 86_400, 3_600, 60
LONGEST_GAP_DAYS = 31
HOURS, WEEKDAYS = 24, 7
MONDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class Windows:
    """Which events make the rows: the tokens of row r are the user and ``begins[r]:ends[r]``.

    Attributes:
        users: (B,) int64.
        begins: (B,) int64 first event.
        ends: (B,) int64, one past the last event that is an input.
        next_actions: (B,) int64 action asked for after the last event; -1 takes that of the
            event at ``ends``, which is then a target.
    """

    users: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    next_actions: np.ndarray


@dataclass(frozen=True)
class PackedTokens:
    """T tokens of B rows, and the U distinct items that they refer to.

    Attributes:
        offsets: (B + 1,) int64.
        rows: (T,) int64.
        distinct: (U,) int64 item ids, ascending, 0 first.
        token_items: (T,) int64 index of each token's item in ``distinct``.
        target_items: (T,) int64 likewise of the item that follows.
        target_ids: (T,) int64.
        target_actions: (T,) int64.
        actions: (T,) int64.
        next_actions: (T,) int64.
        timestamps: (T,) int64.
        gaps: (T, 3) int64.
        calendar: (T, 3) int64.
        popularity: (T,) int64.
    """

    offsets: np.ndarray
    rows: np.ndarray
    distinct: np.ndarray
    token_items: np.ndarray
    target_items: np.ndarray
    target_ids: np.ndarray
    target_actions: np.ndarray
    actions: np.ndarray
    next_actions: np.ndarray
    timestamps: np.ndarray
    gaps: np.ndarray
    calendar: np.ndarray
    popularity: np.ndarray


def pack(
    interactions: Interactions,
    statistics: ItemStatistics,
    wanted: Mapping[str, Any],
    windows: Windows,
    extra_items: np.ndarray,
) -> PackedTokens:
    """Pack the rows.

    Args:
        interactions: the events.
        statistics: time buckets and popularity.
        wanted: ``relative_time``, ``absolute_time`` and ``popularity``; codes of a feature that is
            switched off are 0.
        windows: which events.
        extra_items: (N,) ids to include in ``distinct``.
    """
    counts = windows.ends - windows.begins
    lengths = counts + 1
    offsets = offsets_of(lengths)
    is_item = np.ones(int(offsets[-1]), bool)
    is_item[offsets[:-1]] = False
    inputs = positions_of(windows.begins, counts)
    item_ids, actions, timestamps = (np.zeros(len(is_item), np.int64) for _ in range(3))
    item_ids[is_item] = interactions.item_ids[inputs]
    actions[is_item] = interactions.action_types[inputs] + 1
    timestamps[is_item] = interactions.timestamps[inputs]
    first = offsets[:-1][counts > 0]
    timestamps[first] = timestamps[first + 1]
    target_ids, next_actions, known = _following(interactions, windows, lengths, offsets)
    distinct, places = np.unique(
        np.concatenate([[0], item_ids, target_ids, extra_items.astype(np.int64)]),
        return_inverse=True,
    )
    tokens = len(is_item)
    return PackedTokens(
        offsets=offsets,
        rows=np.repeat(np.arange(len(lengths)), lengths),
        distinct=distinct,
        token_items=places[1 : tokens + 1],
        target_items=places[tokens + 1 : 2 * tokens + 1],
        target_ids=target_ids,
        target_actions=np.where(known, next_actions, EXPOSURE),
        actions=actions,
        next_actions=next_actions,
        timestamps=timestamps,
        gaps=_gaps(timestamps, is_item, offsets, wanted),
        calendar=_calendar(timestamps, is_item, statistics, wanted),
        popularity=_popularity(item_ids, timestamps, is_item, statistics, wanted),
    )


def _following(
    interactions: Interactions, windows: Windows, lengths: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item and action of the event after each token, and whether there is a known one."""
    targets = positions_of(windows.begins, lengths)
    last, asked = offsets[1:] - 1, windows.next_actions
    known = np.ones(len(targets), bool)
    known[last] = asked < 0
    target_ids, next_actions = (np.zeros(len(targets), np.int64) for _ in range(2))
    target_ids[known] = interactions.item_ids[targets[known]]
    next_actions[known] = interactions.action_types[targets[known]]
    next_actions[last] = np.where(asked < 0, next_actions[last], asked)
    return target_ids, next_actions, known


def _gaps(
    timestamps: np.ndarray, is_item: np.ndarray, offsets: np.ndarray, wanted: Mapping[str, Any]
) -> np.ndarray:
    """Days, hours, minutes since the event before, each + 1; (32, 1, 1) beyond 31 days."""
    codes = np.zeros((len(timestamps), 3), np.int64)
    if not wanted["relative_time"]:
        return codes
    gap = np.zeros(len(timestamps), np.int64)
    gap[1:] = np.diff(timestamps)
    later = is_item.copy()
    first = offsets[:-1] + 1
    later[first[first < offsets[1:]]] = False  # the first event has none before it
    days, rest = np.divmod(gap, DAY)
    codes[:, 0] = days + 1
    codes[:, 1] = rest // HOUR + 1
    codes[:, 2] = rest % HOUR // MINUTE + 1
    codes[days > LONGEST_GAP_DAYS - 1] = (LONGEST_GAP_DAYS + 1, 1, 1)
    codes[~later] = 0
    return codes


def _calendar(
    timestamps: np.ndarray,
    is_item: np.ndarray,
    statistics: ItemStatistics,
    wanted: Mapping[str, Any],
) -> np.ndarray:
    """Hour of the day, day of the week (UTC), time bucket."""
    codes = np.zeros((len(timestamps), 3), np.int64)
    if not wanted["absolute_time"]:
        return codes
    days, seconds = np.divmod(timestamps, DAY)
    codes[:, 0] = seconds // HOUR + 1
    codes[:, 1] = (days + MONDAY) % WEEKDAYS + 1
    codes[:, 2] = statistics.time_bucket(timestamps)
    codes[~is_item] = 0
    return codes


def _popularity(
    item_ids: np.ndarray,
    timestamps: np.ndarray,
    is_item: np.ndarray,
    statistics: ItemStatistics,
    wanted: Mapping[str, Any],
) -> np.ndarray:
    if not wanted["popularity"]:
        return np.zeros(len(item_ids), np.int64)
    codes = statistics.popularity_codes(item_ids, timestamps)
    return np.where(is_item, codes, 0).astype(np.int64)
