"""The compiled packing against the readable one, byte for byte, on rows drawn at random."""

from dataclasses import fields, replace

import numpy as np
import pytest

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import compute_item_statistics
from model.dataset.packing import DAY, HOUR, PackedTokens, Windows, pack
from model.dataset.packing_kernels import Packer
from model.params import ItemStatisticsParams

ALL = {"relative_time": True, "absolute_time": True, "popularity": True}
NOTHING = np.zeros(0, np.int64)


def drawn_interactions(base: Interactions, seed: int) -> Interactions:
    """Histories of 0 to 30 events, gaps from seconds to months; half of the events train."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 31, 60)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    events = int(offsets[-1])
    gaps = np.where(rng.random(events) < 0.1, 40 * 86_400, 1) * rng.integers(0, 200_000, events)
    return replace(
        base,
        offsets=offsets,
        item_ids=rng.integers(1, base.num_items + 1, events).astype(np.int32),
        action_types=rng.integers(0, 3, events).astype(np.int8),
        timestamps=np.concatenate(
            [1_700_000_000 + np.cumsum(part) for part in np.split(gaps, offsets[1:-1])]
        ),
        train_end=offsets[:-1] + lengths // 2,
    )


def drawn_windows(interactions: Interactions, seed: int) -> Windows:
    """Any part of each history, with a target or with a question; some rows are empty."""
    rng = np.random.default_rng(seed)
    users = rng.permutation(interactions.num_users)
    begins, stops = interactions.offsets[users], interactions.offsets[users + 1]
    ends = rng.integers(begins, stops + 1)
    asked = rng.integers(-1, 3, len(users))
    return Windows(users, begins, ends, np.where(ends == stops, np.maximum(asked, 0), asked))


def assert_same(found: PackedTokens, expected: PackedTokens) -> None:
    for field in fields(PackedTokens):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert one.dtype == other.dtype == np.int64, field.name
        np.testing.assert_array_equal(one, other, err_msg=field.name)


@pytest.mark.parametrize("off", [None, *ALL])
@pytest.mark.parametrize("seed", range(4))
def test_both_ways_make_the_same_bytes(data, seed, off):
    interactions = drawn_interactions(data.interactions, seed)
    statistics = compute_item_statistics(
        interactions, ItemStatisticsParams(num_time_buckets=16, memory_limit_gib=1.0)
    )
    wanted = {name: name != off for name in ALL}
    windows = drawn_windows(interactions, seed)
    for extra in (NOTHING, np.array([3, 0, 3, interactions.num_items]), np.arange(1, 60)):
        expected = pack(interactions, statistics, wanted, windows, extra)
        assert_same(Packer(interactions, statistics, wanted)(windows, extra), expected)
    assert off == "popularity" or expected.popularity.any()


def test_no_rows_and_no_statistics(data):
    nothing = replace(data.interactions, train_end=np.asarray(data.interactions.offsets[:-1]))
    statistics = compute_item_statistics(
        nothing, ItemStatisticsParams(num_time_buckets=16, memory_limit_gib=1.0)
    )
    packer = Packer(nothing, statistics, ALL)
    for windows in (drawn_windows(nothing, 0), Windows(NOTHING, NOTHING, NOTHING, NOTHING)):
        assert_same(packer(windows, NOTHING), pack(nothing, statistics, ALL, windows, NOTHING))


@pytest.mark.parametrize("seconds", [-(10**14), 10**14])
def test_events_outside_the_buckets_belong_to_none_or_to_the_last(data, seconds):
    interactions = drawn_interactions(data.interactions, 0)
    statistics = compute_item_statistics(
        interactions, ItemStatisticsParams(num_time_buckets=16, memory_limit_gib=1.0)
    )
    moved = replace(interactions, timestamps=interactions.timestamps + seconds)
    windows = drawn_windows(moved, 0)
    packed = Packer(moved, statistics, ALL)(windows, NOTHING)
    assert_same(packed, pack(moved, statistics, ALL, windows, NOTHING))
    bucket = 0 if seconds < 0 else statistics.num_time_buckets
    assert (packed.calendar[packed.actions > 0, 2] == bucket).all()


def test_a_gap_of_31_days_and_more_is_one_code(data):
    interactions = drawn_interactions(data.interactions, 0)
    user = int(np.diff(interactions.offsets).argmax())
    begin = int(interactions.offsets[user])
    gaps = np.array([0, 31 * DAY - 1, 31 * DAY, 31 * DAY + HOUR, 400 * DAY])
    interactions.timestamps[begin : begin + 5] = 1_700_000_000 + np.cumsum(gaps)
    statistics = compute_item_statistics(
        interactions, ItemStatisticsParams(num_time_buckets=16, memory_limit_gib=1.0)
    )
    windows = Windows(np.array([user]), np.array([begin]), np.array([begin + 5]), np.array([0]))
    packed = Packer(interactions, statistics, ALL)(windows, NOTHING)
    assert packed.gaps[2:].tolist() == [[31, 24, 60], *[[32, 1, 1]] * 3]
    assert_same(packed, pack(interactions, statistics, ALL, windows, NOTHING))
