"""Statistics against plain loops, and the promise that they never see a held-out event."""

import dataclasses
import filecmp
from collections import Counter, defaultdict
from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from model import partial_folders
from model.dataset.event_database import duckdb_folder, training_events
from model.dataset.item_statistics import (
    LAST_YEAR_CODE,
    ItemStatistics,
    compute_item_statistics,
)
from model.errors import InputError
from model.params import ItemStatisticsParams
from tests.tiny import write_tiny_world

PARAMS = ItemStatisticsParams(num_time_buckets=7, memory_limit_gib=1)


@pytest.fixture(scope="module")
def interactions(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny")).interactions()


@pytest.fixture(scope="module")
def statistics(interactions):
    return compute_item_statistics(interactions, PARAMS)


@pytest.fixture(scope="module")
def training(interactions):
    """(item, action, time) of every training event."""
    return [
        (
            int(interactions.item_ids[event]),
            int(interactions.action_types[event]),
            int(interactions.timestamps[event]),
        )
        for user in range(interactions.num_users)
        for event in range(interactions.offsets[user], interactions.train_end[user])
    ]


def test_too_little_memory_is_refused_with_the_parameter(interactions):
    starved = ItemStatisticsParams.model_construct(num_time_buckets=7, memory_limit_gib=0.001)
    with pytest.raises(InputError, match=r"item_statistics\.memory_limit_gib: too little") as told:
        compute_item_statistics(interactions, starved)
    assert "\n" not in str(told.value)


def test_duckdb_works_where_told_and_leaves_nothing(interactions, tmp_path, monkeypatch):
    host = partial_folders._host()
    (tmp_path / f".item_statistics-duckdb.partial-{host}-999999999").mkdir()  # of one killed
    seen = []

    def events(interactions):
        seen.extend(tmp_path.glob(".*/events.duckdb"))
        yield from training_events(interactions)

    monkeypatch.setattr("model.dataset.event_database.training_events", events)
    compute_item_statistics(interactions, PARAMS, scratch=tmp_path)
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        duckdb.IOException('Could not write file "events.duckdb": No space left on device'),
        duckdb.IOException('Could not write file "events.duckdb": Disk quota exceeded'),
        duckdb.OutOfMemoryException(
            "failed to offload data block of size 256.0 KiB (2.5 MiB/2.6 MiB used).\n"
            "This limit was set by the 'max_temp_directory_size' setting."
        ),
    ],
)
def test_a_disk_that_fills_up(tmp_path, error):
    pattern = rf"{tmp_path}: DuckDB's files of item_statistics: the disk filled up while writing"
    with (
        pytest.raises(InputError, match=pattern) as told,
        duckdb_folder("item_statistics", tmp_path),
    ):
        raise error
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_another_fault_of_the_disk_is_no_refusal(tmp_path):
    with pytest.raises(duckdb.IOException), duckdb_folder("item_statistics", tmp_path):
        raise duckdb.IOException("Could not set lock on file")


def test_counts(statistics, training, interactions):
    expected = np.zeros((interactions.num_items + 1, 3), int)
    for item, action, _ in training:
        expected[item, action] += 1
    np.testing.assert_array_equal(statistics.counts, expected)
    np.testing.assert_array_equal(statistics.popularity, expected.sum(axis=1))


def test_log_q(statistics, training, interactions):
    counts = Counter(item for item, _, _ in training)
    smallest = min(counts.values())
    for item in range(interactions.num_items + 1):
        share = counts.get(item, smallest) / len(training)
        assert statistics.log_q[item] == pytest.approx(np.log(share), rel=1e-6)


def test_an_unseen_item_is_as_rare_as_the_rarest_seen(interactions):
    """Which may have several events."""
    thrice = dataclasses.replace(interactions, item_ids=1 + np.arange(interactions.num_events) % 2)
    found = compute_item_statistics(thrice, PARAMS)
    assert found.popularity[1:3].min() > 1
    assert (found.log_q[3:] == found.log_q[1:3].min()).all()


@pytest.mark.parametrize(("time", "code"), [(0, 1), (4_102_444_800, LAST_YEAR_CODE)])
def test_years_without_a_code_have_that_of_the_nearest(interactions, time, code):
    """1970 and 2100; a code beyond the table would end the training."""
    then = dataclasses.replace(interactions, timestamps=np.full(interactions.num_events, time))
    statistics = compute_item_statistics(then, PARAMS)
    assert set(statistics.life_cycle[statistics.popularity > 0, 0].tolist()) == {code}


def test_lifetime_in_utc(statistics, training, interactions):
    times = defaultdict(list)
    for item, _, time in training:
        times[item].append(time)
    for item in range(interactions.num_items + 1):
        if item not in times:
            assert statistics.first_timestamp[item] == statistics.last_timestamp[item] == 0
            assert not statistics.life_cycle[item].any()
            continue
        first, last = min(times[item]), max(times[item])
        assert (statistics.first_timestamp[item], statistics.last_timestamp[item]) == (first, last)
        dates = [datetime.fromtimestamp(time, UTC) for time in (first, last)]
        codes = [code for date in dates for code in (date.year - 2019, date.month, date.day)]
        assert statistics.life_cycle[item].tolist() == codes


def test_boundaries_are_those_of_the_sorted_times(statistics, training):
    times = sorted(time for _, _, time in training)
    expected = [times[i * len(times) // 7] for i in range(7)] + [times[-1] + 1]
    assert statistics.bucket_boundaries.tolist() == sorted(set(expected))


def test_time_buckets(statistics):
    bounds = statistics.bucket_boundaries
    probes = np.array([bounds[0] - 1, bounds[0], bounds[1] - 1, bounds[1], bounds[-1] + 10**6])
    assert statistics.time_bucket(probes).tolist() == [0, 1, 1, 2, statistics.num_time_buckets]


def test_equal_times_share_a_bucket(interactions):
    frozen = dataclasses.replace(
        interactions, timestamps=np.full(interactions.num_events, 1_745_000_000)
    )
    found = compute_item_statistics(frozen, PARAMS)
    assert found.bucket_boundaries.tolist() == [1_745_000_000, 1_745_000_001]


def test_popularity_looks_at_the_bucket_before(statistics, training, interactions):
    counts = defaultdict(Counter)
    for item, _, time in training:
        counts[int(statistics.time_bucket(np.array(time)))][item] += 1
    items = np.arange(interactions.num_items + 1)
    for bucket in range(1, statistics.num_time_buckets + 1):
        inside = counts[bucket - 1]
        expected = [
            1 + int(1000 * sum(n < inside[item] for n in inside.values()) / len(inside) + 0.5)
            if item in inside
            else 0
            for item in items
        ]
        time = np.full(len(items), statistics.bucket_boundaries[bucket - 1])
        assert statistics.popularity_codes(items, time).tolist() == expected


def test_popularity_before_and_after_all_buckets(statistics):
    bounds, items = statistics.bucket_boundaries, np.arange(len(statistics.log_q))
    assert not statistics.popularity_codes(items, np.full(len(items), bounds[0] - 1)).any()
    late = statistics.popularity_codes(items, np.full(len(items), bounds[-1] + 10**9))
    last = statistics.popularity_codes(items, np.full(len(items), bounds[-2]))
    np.testing.assert_array_equal(late, last)


def test_monthly_table(statistics, training):
    events, items = Counter(), defaultdict(set)
    for item, action, time in training:
        key = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m"), action)
        events[key] += 1
        items[key].add(item)
    found = {
        (row["month"], row["action_type"]): (row["events"], row["items"])
        for row in statistics.monthly.to_pylist()
    }
    assert found == {key: (events[key], len(items[key])) for key in events}


def test_held_out_events_leave_no_trace(interactions, statistics, tmp_path):
    held_out = np.ones(interactions.num_events, bool)
    for user in range(interactions.num_users):
        held_out[interactions.offsets[user] : interactions.train_end[user]] = False
    assert held_out.any()
    rng = np.random.default_rng(5)
    drawn = {
        "item_ids": rng.integers(1, 60, interactions.num_events, dtype=np.int32),
        "action_types": rng.integers(0, 3, interactions.num_events, dtype=np.int8),
        "timestamps": interactions.timestamps + 10**8,
    }
    changed = dataclasses.replace(
        interactions,
        **{
            name: np.where(held_out, values, getattr(interactions, name))
            for name, values in drawn.items()
        },
    )
    statistics.save(tmp_path / "a")
    compute_item_statistics(changed, PARAMS).save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 9
    _, different, missing = filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)
    assert (different, missing) == ([], [])


def test_saved_and_opened(statistics, tmp_path):
    statistics.save(tmp_path / "statistics")
    opened = ItemStatistics.load(tmp_path / "statistics")
    for field in dataclasses.fields(ItemStatistics):
        expected, found = getattr(statistics, field.name), getattr(opened, field.name)
        assert found.equals(expected) if field.name == "monthly" else (found == expected).all()


def test_no_events_at_all(interactions):
    nothing = dataclasses.replace(interactions, train_end=interactions.offsets[:-1])
    found = compute_item_statistics(nothing, PARAMS)
    assert found.num_time_buckets == 0
    assert not found.counts.any()
    np.testing.assert_allclose(np.exp(found.log_q), 1 / interactions.num_items, rtol=1e-6)
    items = np.arange(3)
    assert not found.popularity_codes(items, np.full(3, 1_745_000_000)).any()
    assert not found.time_bucket(items).any()
