"""Pack rows of events into tokens in one pass over the events, for machines with numba.

The bytes are those of :func:`model.dataset.packing.pack`. An event is read once; its index among
the distinct items comes from a hash table of the size of the batch, not of the catalogue, and its
popularity from the one on disk. Importing this needs numba.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from model.compiled import compiled
from model.dataset.csr import offsets_of
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.packing import (
    DAY,
    HOUR,
    LONGEST_GAP_DAYS,
    MINUTE,
    MONDAY,
    WEEKDAYS,
    PackedTokens,
    Windows,
)
from model.dataset.popularity_table import CODE_BITS, MIXER, home

OPTIONS = {"nogil": True, "error_model": "numpy"}
_home = njit(**OPTIONS)(home)
CODE = (1 << CODE_BITS) - 1
FREE = -1  # an empty slot of the hash table
PER_TOKEN = {
    name: (3,) if name in ("gaps", "calendar") else ()
    for name in (
        "rows",
        "token_items",
        "target_items",
        "target_ids",
        "target_actions",
        "actions",
        "next_actions",
        "timestamps",
        "gaps",
        "calendar",
        "popularity",
    )
}


class Packer:
    """Packs rows with the kernel; holds the columns of a data set."""

    def __init__(
        self, interactions: Interactions, statistics: ItemStatistics, wanted: Mapping[str, Any]
    ) -> None:
        """See :func:`model.dataset.packing.pack` for the arguments."""
        self._events = _opened(
            interactions.item_ids, interactions.action_types, interactions.timestamps
        )
        self._statistics = _opened(
            statistics.bucket_boundaries, statistics.pop_starts, statistics.pop_slots
        )
        self._wanted = tuple(
            bool(wanted[name]) for name in ("relative_time", "absolute_time", "popularity")
        )

    def __call__(self, windows: Windows, extra_items: np.ndarray) -> PackedTokens:
        """Pack the rows."""
        offsets = offsets_of(windows.ends - windows.begins + 1)
        tokens = {
            name: np.empty((offsets[-1], *tail), np.int64) for name, tail in PER_TOKEN.items()
        }
        most = int(offsets[-1]) + len(offsets) + len(extra_items)
        distinct = np.zeros(most, np.int64)
        found = _fill(
            self._events,
            self._statistics,
            self._wanted,
            (windows.begins, windows.ends, windows.next_actions, offsets),
            extra_items.astype(np.int64),
            tuple(tokens.values()),
            (np.full(1 << (2 * most).bit_length(), FREE, np.int64), distinct),
        )
        order = np.argsort(distinct[:found])
        ranks = np.empty_like(order)
        ranks[order] = np.arange(found)
        for name in ("token_items", "target_items"):
            tokens[name] = ranks[tokens[name]]
        return PackedTokens(offsets=offsets, distinct=distinct[order], **tokens)


def _opened(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read-only views of plain arrays: one type for the compiler, whatever is mapped."""
    views = tuple(np.asarray(column).view() for column in columns)
    for view in views:
        view.flags.writeable = False
    return views


@compiled(**OPTIONS)
def _fill(events, statistics, wanted, windows, extra_items, tokens, table):
    """Write all tokens; items are numbered by first occurrence. Returns the number of items."""
    begins, ends, asked, offsets = windows
    distinct = 1  # 0 comes first
    for row in range(len(begins)):
        distinct = _fill_row(
            row, offsets[row], begins[row], ends[row], asked[row], events, statistics[0], wanted,
            tokens, table, distinct,
        )  # fmt: skip
    for item in extra_items:
        _, distinct = _place(item, table, distinct)
    token_items, popularity = tokens[1], tokens[10]
    if wanted[2]:
        _fill_popularity(token_items, table[1], statistics, popularity)
    else:
        popularity[:] = 0
    return distinct


@njit(**OPTIONS)
def _fill_row(row, at, begin, end, asked, events, boundaries, wanted, tokens, table, distinct):
    item_ids, action_types, timestamps = events
    rows, token_items, target_items, target_ids, target_actions = tokens[:5]
    actions, next_actions, times, gaps, calendar, popularity = tokens[5:]
    _fill_user_token(row, at, timestamps[begin] if end > begin else 0, tokens)
    bucket = 0
    for event in range(begin, end):
        t = at + 1 + event - begin
        item, action, when = item_ids[event], action_types[event], timestamps[event]
        place, distinct = _place(item, table, distinct)
        rows[t], token_items[t], actions[t], times[t] = row, place, action + 1, when
        target_items[t - 1], target_ids[t - 1] = place, item
        target_actions[t - 1] = next_actions[t - 1] = action
        bucket = _bucket(when, boundaries, bucket)
        _fill_gap(gaps[t], when - times[t - 1], wanted[0] and event > begin)
        _fill_calendar(calendar[t], when, bucket, wanted[1])
        popularity[t] = bucket
    last = at + end - begin
    if asked < 0:
        place, distinct = _place(item_ids[end], table, distinct)
        target_items[last], target_ids[last] = place, item_ids[end]
        target_actions[last] = next_actions[last] = action_types[end]
    else:
        target_items[last], target_ids[last], target_actions[last] = 0, 0, 0
        next_actions[last] = asked
    return distinct


@njit(**OPTIONS)
def _fill_user_token(row, at, first_time, tokens):
    rows, token_items, _, _, _, actions, _, times, gaps, calendar, popularity = tokens
    rows[at], token_items[at], actions[at], times[at], popularity[at] = row, 0, 0, first_time, 0
    gaps[at] = 0
    calendar[at] = 0


@njit(**OPTIONS)
def _place(item, table, distinct):
    """The number of an item by first occurrence, and how many items there are now."""
    slots, ids = table
    if item == 0:
        return 0, distinct
    mask = len(slots) - 1
    slot = (np.int64(item) * MIXER >> 16) & mask
    while slots[slot] != FREE and ids[slots[slot]] != item:
        slot = (slot + 1) & mask
    if slots[slot] == FREE:
        slots[slot] = distinct
        ids[distinct] = item
        distinct += 1
    return slots[slot], distinct


@njit(**OPTIONS)
def _bucket(when, boundaries, before):
    """How many boundaries are at most ``when``, up to all but one; usually ``before``."""
    buckets = len(boundaries) - 1
    low, high = before, buckets
    if before > 0 and when < boundaries[before - 1]:
        low, high = 0, before - 1
    elif before < buckets and when < boundaries[before]:
        return before
    while low < high:
        middle = (low + high) // 2
        if boundaries[middle] <= when:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**OPTIONS)
def _fill_popularity(token_items, ids, statistics, popularity):
    """Turn time buckets into the item's popularity in the bucket before.

    A pass of its own, since the reads of one token after another then overlap.
    """
    _, starts, slots = statistics
    tail = starts[1]
    for t in range(len(popularity)):
        item, bucket = ids[token_items[t]], max(popularity[t] - 1, 0)
        begin = starts[bucket]
        at = begin + _home(item, starts[bucket + 1] - begin - tail)
        while slots[at] != 0 and slots[at] >> CODE_BITS != item:
            at += 1
        popularity[t] = slots[at] & CODE


@njit(**OPTIONS)
def _fill_gap(codes, gap, wanted):
    days = gap // DAY
    if not wanted:
        codes[:] = 0
    elif days > LONGEST_GAP_DAYS - 1:
        codes[0], codes[1], codes[2] = LONGEST_GAP_DAYS + 1, 1, 1
    else:
        codes[0] = days + 1
        codes[1] = gap % DAY // HOUR + 1
        codes[2] = gap % HOUR // MINUTE + 1


@njit(**OPTIONS)
def _fill_calendar(codes, when, bucket, wanted):
    if not wanted:
        codes[:] = 0
        return
    codes[0] = when % DAY // HOUR + 1
    codes[1] = (when // DAY + MONDAY) % WEEKDAYS + 1
    codes[2] = bucket
