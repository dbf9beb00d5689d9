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
from model.dataset.popularity_table import CODE_BITS, MIXER, hash_of, home

OPTIONS = {"nogil": True, "error_model": "numpy"}
_hash_of, _home = njit(**OPTIONS)(hash_of), njit(**OPTIONS)(home)
CODE = (1 << CODE_BITS) - 1
CELLS = 16384  # of the grid over time
LOOK_UPS = 64  # of popularity at once
# A slot of the batch's hash table holds an item above its number in the batch.
PLACE_BITS = 32
PLACE = (1 << PLACE_BITS) - 1
FREE = 0  # an empty slot: items begin at 1
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
        self._grid = _grid(np.array(statistics.bucket_boundaries))
        self._statistics = _opened(statistics.pop_starts, statistics.pop_slots)
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
            self._grid,
            self._statistics,
            self._wanted,
            (windows.begins, windows.ends, windows.next_actions, offsets),
            extra_items.astype(np.int64),
            tuple(tokens.values()),
            (np.zeros(1 << (most + most // 2).bit_length(), np.int64), distinct),
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


def _grid(boundaries: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Boundaries, how many lie up to the start of each of CELLS equal spans, and their log2 length.

    A search is then confined to one span, where there is often none and seldom more than one.
    """
    span = int(boundaries[-1] - boundaries[0])
    shift = max(span.bit_length() - CELLS.bit_length() + 1, 0)
    starts = boundaries[0] + (np.arange((span >> shift) + 2) << shift)
    counts = np.searchsorted(boundaries[:-1], starts, side="right").astype(np.int32)
    counts[0] = 0
    return boundaries, counts, shift


@compiled(**OPTIONS)
def _fill(events, grid, statistics, wanted, windows, extra_items, tokens, table):
    """Write all tokens; items are numbered by first occurrence. Returns the number of items."""
    begins, ends, asked, offsets = windows
    distinct = 1  # 0 comes first
    for row in range(len(begins)):
        distinct = _fill_row(
            row, offsets[row], begins[row], ends[row], asked[row], events, grid, wanted,
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
def _fill_row(row, at, begin, end, asked, events, grid, wanted, tokens, table, distinct):
    item_ids, action_types, timestamps = events
    rows, token_items, target_items, target_ids, target_actions = tokens[:5]
    actions, next_actions, times, gaps, calendar, popularity = tokens[5:]
    _fill_user_token(row, at, timestamps[begin] if end > begin else 0, tokens)
    for event in range(begin, end):
        t = at + 1 + event - begin
        item, action, when = item_ids[event], action_types[event], timestamps[event]
        place, distinct = _place(item, table, distinct)
        rows[t], token_items[t], actions[t], times[t] = row, place, action + 1, when
        target_items[t - 1], target_ids[t - 1] = place, item
        target_actions[t - 1] = next_actions[t - 1] = action
        bucket = _bucket(when, grid)
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
    held = slots[slot]
    while held != FREE and held >> PLACE_BITS != item:
        slot = (slot + 1) & mask
        held = slots[slot]
    if held != FREE:
        return held & PLACE, distinct
    slots[slot] = (np.int64(item) << PLACE_BITS) | distinct
    ids[distinct] = item
    return distinct, distinct + 1


@njit(**OPTIONS)
def _bucket(when, grid):
    """How many boundaries are at most ``when``, up to all but one; see :func:`_grid`."""
    boundaries, counts, shift = grid
    cell = min(max(when - boundaries[0], 0) >> shift, len(counts) - 2)
    low, high = counts[cell], counts[cell + 1]
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

    A pass of its own. The first slots of several tokens are read before any is looked at: such
    reads wait for memory together, and a wrong guess at what one brings does not hold up the next.
    """
    starts, slots = statistics
    tail = starts[1]
    hashes, places = np.empty(LOOK_UPS, np.int64), np.empty(LOOK_UPS, np.int64)
    firsts = np.empty(LOOK_UPS, np.int64)
    for first in range(0, len(popularity), LOOK_UPS):
        count = min(LOOK_UPS, len(popularity) - first)
        for i in range(count):
            hashes[i] = _hash_of(ids[token_items[first + i]])
            bucket = max(popularity[first + i] - 1, 0)
            begin = starts[bucket]
            places[i] = begin + _home(hashes[i], starts[bucket + 1] - begin - tail)
            firsts[i] = slots[places[i]]
        for i in range(count):
            hashed, at, slot = hashes[i], places[i], firsts[i]
            while slot >> CODE_BITS < hashed:
                at += 1
                slot = slots[at]
            popularity[first + i] = slot & CODE if slot >> CODE_BITS == hashed else 0


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
