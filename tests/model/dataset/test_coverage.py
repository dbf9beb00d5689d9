"""Every number of the coverage report against a slow count, and the states' samples."""

import csv
import dataclasses
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from model.artifact import read_json
from model.dataset.coverage import measure_coverage
from model.dataset.coverage_report import CoverageReport
from model.dataset.event_database import training_events
from model.dataset.item_statistics import compute_item_statistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.vector_audit import audit_vectors
from model.dataset.vector_states import MISSING, NOT_FINITE, NULL, VALID, WRONG_WIDTH, ZERO
from model.errors import InputError
from model.params import Params
from tests.tiny import NUM_COLD, NUM_ITEMS, NUM_KNOWN_ITEMS, PARAMS_FILE, write_tiny_world

PARAMS = Params.load(PARAMS_FILE)
NAMES = ("81", "90")


@pytest.fixture(scope="module")
def interactions(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny")).interactions()


@pytest.fixture(scope="module")
def statistics(interactions):
    return compute_item_statistics(interactions, PARAMS.item_statistics)


def _modality(name, states, vectors):
    item_ids = np.flatnonzero(states == VALID).astype(np.int32)
    row_of = np.full(len(states), -1, np.int32)
    row_of[item_ids] = np.arange(len(item_ids))
    counts = {"rows": int((states > MISSING).sum()) + 3, "unmatched": 2, "duplicates": 1}
    return ModalityEmbedding(name, item_ids, vectors, states, row_of, counts)


@pytest.fixture(scope="module")
def modalities():
    """Two modalities: one full of troubles and of equal vectors, one covering the first third."""
    rng = np.random.default_rng(5)
    states = rng.choice(
        [MISSING, VALID, NULL, ZERO, NOT_FINITE, WRONG_WIDTH],
        NUM_ITEMS + 1,
        p=[0.2, 0.5, *[0.075] * 4],
    ).astype(np.int8)
    states[0] = MISSING
    valid = int((states == VALID).sum())
    vectors = rng.standard_normal((valid, 4)).astype(np.float16)
    vectors[[3, 5, 9]] = vectors[1]  # four alike
    vectors[7] = vectors[0]  # a smaller group with an earlier item
    first = np.full(NUM_ITEMS + 1, MISSING, np.int8)
    first[1:25] = VALID
    other = rng.standard_normal((24, 3)).astype(np.float16)
    return [_modality("81", states, vectors), _modality("90", first, other)]


@pytest.fixture(scope="module")
def report(interactions, statistics, modalities):
    return measure_coverage(interactions, statistics, modalities, PARAMS.coverage_report)


def test_too_little_memory_is_refused_with_the_parameter(interactions, statistics, modalities):
    starved = PARAMS.coverage_report.model_copy(update={"memory_limit_gib": 0.001})
    with pytest.raises(InputError, match=r"coverage_report\.memory_limit_gib: too little"):
        measure_coverage(interactions, statistics, modalities, starved)


def test_duckdb_spills_where_told(interactions, statistics, modalities, tmp_path, monkeypatch):
    seen = []

    def events(interactions):
        seen.extend(path.name for path in tmp_path.iterdir())
        yield from training_events(interactions)

    monkeypatch.setattr("model.dataset.coverage_database.training_events", events)
    measure_coverage(interactions, statistics, modalities, PARAMS.coverage_report, scratch=tmp_path)
    assert len(seen) == 1
    assert seen[0].startswith(".coverage_report-duckdb.partial-")
    assert list(tmp_path.iterdir()) == []


def _covers(modality):
    return lambda item: bool(modality.states[item] == VALID)


def _training_events(interactions):
    return [
        (
            int(interactions.item_ids[at]),
            int(interactions.action_types[at]),
            int(interactions.timestamps[at]),
        )
        for user in range(interactions.num_users)
        for at in range(interactions.offsets[user], interactions.train_end[user])
    ]


def test_every_item_has_one_state(report, modalities):
    keys = {"missing": MISSING, "covered": VALID, "null": NULL, "zero": ZERO}
    keys |= {"nan": NOT_FINITE, "wrong_width": WRONG_WIDTH}
    for modality in modalities:
        row = report.modalities[modality.name]
        expected = Counter(modality.states[1:].tolist())
        assert {key: row[key] for key in keys} == {
            key: expected[code] for key, code in keys.items()
        }
        assert row["total"] == NUM_ITEMS
        assert row["rate"] == row["covered"] / NUM_ITEMS
        assert row["width"] == modality.width
        assert (row["rows"], row["unmatched"], row["repeated_rows"]) == (
            modality.counts["rows"],
            2,
            1,
        )


def test_parts_and_weights(report, interactions, modalities):
    events = _training_events(interactions)
    seen = {item for item, _, _ in events}
    everything = range(1, NUM_ITEMS + 1)
    parts = {
        "candidates": set(interactions.candidate_item_ids.tolist()),
        "cold_items": {item for item in everything if item > NUM_KNOWN_ITEMS},
        "unseen_items": {item for item in everything if item not in seen},
    }
    assert len(parts["cold_items"]) == NUM_COLD
    for modality in modalities:
        row, covers = report.modalities[modality.name], _covers(modality)
        for name, items in parts.items():
            covered = sum(map(covers, items))
            assert row[name] == {
                "covered": covered,
                "total": len(items),
                "rate": covered / len(items),
            }
        for name, wanted in {
            "events": {0, 1, 2},
            "exposures": {0},
            "clicks": {1},
            "conversions": {2},
        }.items():
            weight = [covers(item) for item, action, _ in events if action in wanted]
            assert row["traffic"][name] == pytest.approx(np.mean(weight), abs=1e-12)


def test_combinations_hold_every_item_once(report, interactions, modalities):
    first, second = map(_covers, modalities)
    named = {
        (True, True): "81+90",
        (True, False): "81",
        (False, True): "90",
        (False, False): "none",
    }
    events = _training_events(interactions)
    items = Counter(named[first(item), second(item)] for item in range(1, NUM_ITEMS + 1))
    traffic = Counter(named[first(item), second(item)] for item, _, _ in events)
    found = {row["modalities"]: row for row in report.combinations}
    assert {name: row["items"] for name, row in found.items()} == items
    assert {name: row["events"] for name, row in found.items()} == traffic
    assert sum(row["share"] for row in report.combinations) == pytest.approx(1)
    assert sum(row["candidates"] for row in report.combinations) == len(
        interactions.candidate_item_ids
    )
    assert report.joint["none"] == items["none"]
    assert report.joint["all"] == items["81+90"] == report.joint["pairs"]["81"]["90"]
    assert report.joint["any"] == NUM_ITEMS - items["none"]


def test_popularity_bands(report, interactions, modalities):
    events = Counter(item for item, _, _ in _training_events(interactions))
    covers = _covers(modalities[0])
    expected = {}
    for item in range(1, NUM_ITEMS + 1):
        digits = len(str(events[item]))
        band = f"{10 ** (digits - 1)}-{10**digits - 1}" if events[item] else "0"
        items, covered = expected.get(band, (0, 0))
        expected[band] = items + 1, covered + covers(item)
    found = {row["events"]: row for row in report.popularity if row["modality"] == "81"}
    assert {band: (row["items"], row["covered"]) for band, row in found.items()} == expected


def _monday(time):
    day = datetime.fromtimestamp(time, UTC).date()
    return str(day - timedelta(days=day.weekday()))


def test_weeks_begin_on_mondays_in_utc(report, interactions, modalities):
    covers = _covers(modalities[1])
    events = _training_events(interactions)
    weeks = Counter(_monday(time) for _, _, time in events)
    covered = Counter(_monday(time) for item, _, time in events if covers(item))
    first = {}
    for item, _, time in events:
        first[item] = min(time, first.get(item, time))
    fresh = Counter(_monday(time) for time in first.values())
    rows = [row for row in report.over_time if row["modality"] == "90"]
    assert [row["week"] for row in rows] == sorted(weeks)
    for row in rows:
        week = row["week"]
        assert (row["events"], row["covered_events"]) == (weeks[week], covered[week])
        assert row["new_items"] == fresh[week]
        assert row["rate"] == covered[week] / weeks[week]


def test_equal_vectors_are_found(report, interactions, modalities):
    row = report.modalities["81"]
    assert row["duplicate_groups"] == 2
    assert row["duplicate_items"] == 6
    assert row["largest_duplicate_group"] == 4
    assert row["distinct_vectors"] == len(np.unique(modalities[0].matrix, axis=0))
    alike = modalities[0].item_ids[[1, 3, 5, 9]]
    group = report.samples["81"]["largest_duplicate_groups"][0]
    assert group == {
        "items": 4,
        "ids": [interactions.raw_item_ids[int(item) - 1].as_py() for item in alike],
    }
    assert report.modalities["90"]["duplicate_items"] == 0


def test_norms(report, modalities):
    lengths = np.linalg.norm(modalities[0].matrix.astype(np.float32), axis=1)
    norm = report.modalities["81"]["norm"]
    for name, expected in {
        "min": lengths.min(),
        "p50": np.quantile(lengths, 0.5, method="inverted_cdf"),
        "max": lengths.max(),
        "mean": lengths.mean(),
        "std": lengths.std(),
    }.items():
        assert norm[name] == pytest.approx(expected, rel=1e-5), name
    bins = [row for row in report.norms if row["modality"] == "81"]
    assert sum(row["items"] for row in bins) == len(lengths)
    for row in bins:
        inside = (lengths >= row["from"] - 1e-5) & (lengths <= row["to"] + 1e-5)
        assert row["items"] <= inside.sum()
    assert bins[0]["from"] == norm["min"]
    assert bins[-1]["to"] == pytest.approx(norm["max"])


def test_vectors_of_one_length_are_one_bin(interactions, statistics):
    states = np.full(NUM_ITEMS + 1, VALID, np.int8)
    states[0] = MISSING
    same = _modality("81", states, np.full((NUM_ITEMS, 4), 2.0, np.float16))
    report = measure_coverage(interactions, statistics, [same], PARAMS.coverage_report)
    (only,) = report.norms
    assert (only["from"], only["items"]) == (4.0, NUM_ITEMS)


def test_items_in_trouble_are_named(report, interactions, modalities):
    for key, state in {
        "null": NULL,
        "zero": ZERO,
        "nan": NOT_FINITE,
        "wrong_width": WRONG_WIDTH,
    }.items():
        items = np.flatnonzero(modalities[0].states == state)[:20]
        expected = [interactions.raw_item_ids[int(item) - 1].as_py() for item in items]
        assert report.samples["81"][key] == expected, key
        assert expected


def test_the_hottest_uncovered_items_come_first(report, interactions, modalities):
    counts = Counter(item for item, _, _ in _training_events(interactions))
    covers = _covers(modalities[1])
    expected = sorted((-n, item) for item, n in counts.items() if not covers(item))[:20]
    found = report.samples["90"]["hottest_uncovered"]
    assert [row["events"] for row in found] == [-n for n, _ in expected]
    assert found[0]["id"] == interactions.raw_item_ids[expected[0][1] - 1].as_py()


def test_uncovered_items_without_an_event_cost_nothing(interactions, statistics):
    nothing = _modality("81", np.full(NUM_ITEMS + 1, ZERO, np.int8), np.zeros((0, 4), np.float16))
    seen = np.flatnonzero(statistics.popularity)
    few = dataclasses.replace(statistics, counts=np.array(statistics.counts))
    few.counts[seen[5:]] = 0
    report = measure_coverage(interactions, few, [nothing], PARAMS.coverage_report)
    assert len(report.samples["81"]["hottest_uncovered"]) == 5


def test_held_out_events_change_nothing(report, interactions, statistics, modalities):
    item_ids = np.array(interactions.item_ids)
    held_out = np.concatenate(
        [np.arange(interactions.train_end[u], interactions.offsets[u + 1]) for u in range(40)]
    )
    item_ids[held_out] = 1 + item_ids[held_out] % NUM_KNOWN_ITEMS
    changed = dataclasses.replace(interactions, item_ids=item_ids)
    again = measure_coverage(changed, statistics, modalities, PARAMS.coverage_report)
    assert again == report


def test_the_same_bytes_and_all_files(report, interactions, statistics, modalities, tmp_path):
    report.save(tmp_path / "a")
    measure_coverage(interactions, statistics, modalities, PARAMS.coverage_report).save(
        tmp_path / "b"
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert {"81.png", "90.png", "combinations.png", "over_time.csv", "modalities.csv"} <= set(files)
    assert CoverageReport.load(tmp_path / "a") == report
    headlines = read_json(tmp_path / "a" / "metrics.json")
    assert headlines["90"]["rate"] == 24 / NUM_ITEMS
    assert headlines["81"]["traffic_rate"] == report.modalities["81"]["traffic"]["events"]
    with (tmp_path / "a" / "modalities.csv").open() as file:
        rows = {row["modality"]: row for row in csv.DictReader(file)}
    assert float(rows["81"]["traffic.events"]) == report.modalities["81"]["traffic"]["events"]


def test_a_release_without_events_has_no_rates_of_traffic(interactions, modalities, tmp_path):
    empty = dataclasses.replace(
        interactions,
        offsets=np.zeros_like(interactions.offsets),
        train_end=np.zeros_like(interactions.train_end),
        item_ids=interactions.item_ids[:0],
        action_types=interactions.action_types[:0],
        timestamps=interactions.timestamps[:0],
    )
    statistics = compute_item_statistics(empty, PARAMS.item_statistics)
    report = measure_coverage(empty, statistics, modalities, PARAMS.coverage_report)
    assert report.modalities["81"]["traffic"]["events"] is None
    assert report.over_time == []
    report.save(tmp_path / "report")


def test_a_modality_without_a_valid_vector_covers_nothing(interactions, statistics, tmp_path):
    states = np.full(NUM_ITEMS + 1, ZERO, np.int8)
    nothing = _modality("81", states, np.zeros((0, 4), np.float16))
    report = measure_coverage(interactions, statistics, [nothing], PARAMS.coverage_report)
    row = report.modalities["81"]
    assert (row["covered"], row["zero"], row["rate"]) == (0, NUM_ITEMS, 0.0)
    assert (row["distinct_vectors"], row["largest_duplicate_group"]) == (0, 0)
    assert row["duplicate_rate"] is None
    assert set(row["norm"].values()) == {None}
    assert report.norms == []
    report.save(tmp_path / "report")
    assert CoverageReport.load(tmp_path / "report") == report


def test_vectors_of_other_items_are_refused(interactions, statistics, modalities):
    short = dataclasses.replace(modalities[0], states=modalities[0].states[:-1])
    with pytest.raises(InputError, match=r"modality_embeddings 81: made for 67 items.*68"):
        measure_coverage(interactions, statistics, [short], PARAMS.coverage_report)
    long = dataclasses.replace(modalities[0], states=np.append(modalities[0].states, [VALID]))
    with pytest.raises(InputError, match=r"modality_embeddings 81: made for 69 items.*68"):
        measure_coverage(interactions, statistics, [long], PARAMS.coverage_report)


def test_fingerprints_tell_vectors_apart_whatever_the_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (5000, 5)).astype(np.float16)
    vectors[:, 2] *= vectors[:, 1]  # zeros of either sign
    audit = audit_vectors(vectors, "x")
    _, by_value = np.unique(vectors + np.float16(0), axis=0, return_inverse=True)
    _, by_fingerprint = np.unique(audit.fingerprints, return_inverse=True)
    pairs = set(zip(by_value.ravel().tolist(), by_fingerprint.tolist(), strict=True))
    assert len(pairs) == by_value.max() + 1 == by_fingerprint.max() + 1
    monkeypatch.setattr("model.dataset.vector_audit._BYTES_PER_CHUNK", 70)
    again = audit_vectors(vectors, "x")
    np.testing.assert_array_equal(audit.fingerprints, again.fingerprints)
    np.testing.assert_array_equal(audit.norms, again.norms)
