"""The recommendations file: its form, its checks, its shards."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset.interactions import Interactions
from model.errors import InputError
from model.inference import shards as shards_module
from model.inference.cascade import Recommendations, recommend
from model.inference.index_cache import with_index
from model.inference.shards import fingerprint, open_shards
from model.inference.submission import Submission, describe
from model.inference.validation import validate_recommendations
from tests.damage import damage
from tests.model.inference.fakes import (
    cascade_params,
    fake_recommender,
    random_interactions,
    training_counts,
)

ALL_ACTIONS = [0, 1, 2]


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return random_interactions(10, 60)


@pytest.fixture(scope="module")
def made(interactions) -> Recommendations:
    recommender = fake_recommender(interactions, cascade_params())
    return recommend(recommender, "submission", np.arange(10), beam_weight=0.1)


@pytest.fixture(scope="module")
def submission(interactions, made) -> Submission:
    return described(made, interactions)


def described(made: Recommendations, interactions: Interactions, kind: str = "exact") -> Submission:
    search = {"kind": kind} | ({} if kind == "exact" else {"recall@10": 0.96})
    counts = training_counts(interactions)
    return describe(made, interactions, counts, beam_weight=0.1, search=search)


def changed(made: Recommendations, user: int, place: int, item: int) -> Recommendations:
    items = made.item_ids.copy()
    items[user, place] = item
    return replace(made, item_ids=items)


def validate(made: Recommendations, interactions: Interactions) -> None:
    allowed = np.flatnonzero(training_counts(interactions) > 0)
    validate_recommendations(made, interactions, allowed, filter_history=ALL_ACTIONS)


@pytest.mark.parametrize("users_at_once", [3, 50_000])
def test_result_has_the_competitions_form(submission, made, tmp_path, monkeypatch, users_at_once):
    monkeypatch.setattr("model.inference.submission.USERS_AT_ONCE", users_at_once)
    submission.save(tmp_path / "s")
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    assert list(result) == ["user", "top10s"]
    assert result["user"] == [f"user_{u:03d}" for u in range(10)]  # the order of the input
    # raw item ids are decimal here: item i is written as the number 499 + i
    assert result["top10s"] == (made.item_ids + 499).tolist()


@pytest.mark.parametrize("odd", ["007", "name"])
def test_ids_are_strings_where_one_of_the_catalogue_is_no_number(interactions, made, tmp_path, odd):
    unused = np.setdiff1d(np.arange(1, interactions.num_items + 1), made.item_ids)[0]
    raw = interactions.raw_item_ids.to_pylist()
    raw[unused - 1] = odd  # which nobody is recommended
    mixed = replace(interactions, raw_item_ids=pa.array(raw, pa.large_string()))
    submission = described(made, mixed)
    submission.save(tmp_path / "s")
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    assert result["top10s"] == [[str(item + 499) for item in row] for row in made.item_ids]
    assert not Submission.load(tmp_path / "s").items_are_numbers


def test_a_user_with_one_back_filled_item_has_back_fill(made, interactions):
    path = np.zeros_like(made.path)
    path[[2, 5], 9] = 1
    summary = described(replace(made, path=path), interactions).summary
    assert (summary["users_with_back_fill"], summary["back_filled_share"]) == (2, 0.02)


@pytest.mark.parametrize("users_at_once", [3, 50_000])
def test_table_has_scores_ranks_paths_and_sids(
    submission, made, tmp_path, monkeypatch, users_at_once
):
    monkeypatch.setattr("model.inference.submission.USERS_AT_ONCE", users_at_once)
    submission.save(tmp_path / "s")
    table = pq.read_table(tmp_path / "s" / "recommendations.parquet").to_pydict()
    assert table["rank"][:11] == [*range(1, 11), 1]
    assert table["user_id"][9:11] == ["user_000", "user_001"]
    assert table["item_id"] == made.item_ids.ravel().tolist()
    assert table["raw_item_id"] == [str(item + 499) for item in table["item_id"]]
    assert table["path"] == [("beam", "back-fill")[p] for p in made.path.ravel()]
    assert table["sid"] == made.sids.reshape(-1, 2).tolist()
    np.testing.assert_array_equal(table["score"], made.scores.ravel())


@pytest.mark.parametrize("kept", [None, 0, 60, -2])
@pytest.mark.parametrize("name", ["recommendations.parquet", "summary.json", "result.json"])
def test_a_damaged_submission_is_named(submission, tmp_path, name, kept):
    submission.save(tmp_path / "s")
    damage(tmp_path / "s" / name, kept)
    with pytest.raises(
        InputError, match=rf"{name}: (not found|truncated|not valid JSON).*materiali[sz]e"
    ):
        Submission.load(tmp_path / "s")


def test_loads_what_was_saved(submission, made, tmp_path):
    submission.save(tmp_path / "s")
    loaded = Submission.load(tmp_path / "s")
    for name in ("user_indices", "item_ids", "scores", "path", "sids"):
        np.testing.assert_array_equal(
            getattr(loaded.recommendations, name), getattr(made, name), err_msg=name
        )
    assert loaded.user_ids.to_pylist() == submission.user_ids.to_pylist()
    assert loaded.raw_item_ids.to_pylist() == submission.raw_item_ids.to_pylist()
    assert loaded.summary == submission.summary
    assert loaded.items_are_numbers
    loaded.save(tmp_path / "again")
    for name in ("result.json", "recommendations.parquet"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_summary_says_what_was_searched_and_how_good_an_index_was(
    submission, made, interactions
):
    assert submission.summary["search"] == {"kind": "exact"}
    summary = described(made, interactions, "ivf").summary
    assert summary["search"] == {"kind": "ivf", "recall@10": 0.96}
    assert summary == submission.summary | {"search": summary["search"]}


def test_good_recommendations_pass(made, interactions):
    validate(made, interactions)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda made, world: changed(made, 4, 9, 0), "only 9 of 10"),
        (lambda made, world: changed(made, 4, 9, made.item_ids[4, 0]), "twice"),
        (lambda made, world: changed(made, 4, 9, cold_item(world)), "not an allowed candidate"),
        (lambda made, world: changed(made, 4, 9, seen_item(world, 4)), "history"),
        (lambda made, world: replace(made, scores=made.scores * np.nan), "not finite"),
        (lambda made, world: replace(made, scores=np.full_like(made.scores, np.inf)), "not finite"),
        (lambda made, world: replace(made, user_indices=made.user_indices[::-1]), "order"),
    ],
)
def test_a_broken_one_is_refused_with_the_user_and_the_reason(break_it, reason, made, interactions):
    with pytest.raises(InputError, match=reason) as refused:
        validate(break_it(made, interactions), interactions)
    if reason not in ("order", "not finite"):
        assert "user_004" in str(refused.value)


def test_a_user_of_a_later_chunk_is_named(made, interactions, monkeypatch):
    monkeypatch.setattr("model.inference.validation.USERS_AT_ONCE", 3)
    with pytest.raises(InputError, match="user_007"):
        validate(changed(made, 7, 9, 0), interactions)


def test_the_number_left_is_that_of_the_user_who_is_named(made, interactions):
    broken = changed(changed(made, 4, 9, 0), 6, 9, 0)
    broken = changed(broken, 6, 8, 0)
    with pytest.raises(InputError, match=r"user_004 \(of 2 .*only 9 of 10.*blocked_items"):
        validate(broken, interactions)


def cold_item(interactions: Interactions) -> int:
    return int(np.flatnonzero(training_counts(interactions)[1:] == 0)[0]) + 1


def seen_item(interactions: Interactions, user: int) -> int:
    allowed = training_counts(interactions) > 0
    history = interactions.item_ids[interactions.offsets[user] : interactions.offsets[user + 1]]
    return next(int(item) for item in history if allowed[item])


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "USERS_PER_SHARD", 3)


def run(interactions, folder, world_size: int, task: str = "task") -> Recommendations:
    shards = open_shards(folder, task, interactions.num_users)
    for rank in range(world_size):
        recommender = fake_recommender(interactions, cascade_params(batch_size=2))
        shards.fill(recommender, beam_weight=0.1, rank=rank, world_size=world_size)
    return shards.collect()


def test_one_rank_and_three_give_the_same_bytes(interactions, tmp_path, small_shards):
    one, three = run(interactions, tmp_path / "1", 1), run(interactions, tmp_path / "3", 3)
    assert one.item_ids.shape == (10, 10)
    for name in ("user_indices", "item_ids", "scores", "path", "sids"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes(), name


def test_shards_know_the_search_that_filled_them_up(interactions, tmp_path, small_shards):
    run(interactions, tmp_path / "exact", 1)
    shards = open_shards(tmp_path / "exact", "task", interactions.num_users)
    assert shards.search_facts() == {"kind": "exact"}
    approximate = fake_recommender(interactions, cascade_params(search="hnsw"))
    indexed, facts = with_index(approximate, None)
    shards = open_shards(tmp_path / "hnsw", "task", interactions.num_users)
    shards.fill(indexed, beam_weight=0.1, rank=0, world_size=1)
    assert shards.search_facts() == facts
    assert facts["kind"] == "hnsw"
    damage(tmp_path / "hnsw" / "task" / "shard-000000" / "search.json", 0)
    with pytest.raises(InputError, match=r"shard-000000/search\.json"):
        shards.search_facts()
    assert shards.missing() == [0]


def test_a_restart_does_only_what_is_missing(interactions, tmp_path, small_shards, monkeypatch):
    whole = run(interactions, tmp_path / "whole", 1)
    shards = open_shards(tmp_path / "killed", "task", interactions.num_users)
    recommender = fake_recommender(interactions, cascade_params(batch_size=2))
    asked: list[list[int]] = []

    def killed(recommender, part, users, *, beam_weight):
        asked.append(users.tolist())
        if len(asked) == 2:
            raise KeyboardInterrupt
        return recommend(recommender, part, users, beam_weight=beam_weight)

    monkeypatch.setattr(shards_module, "recommend", killed)
    with pytest.raises(KeyboardInterrupt):
        shards.fill(recommender, beam_weight=0.1, rank=0, world_size=1)
    shards = open_shards(tmp_path / "killed", "task", interactions.num_users)
    assert shards.missing() == [1, 2, 3]
    shards.fill(recommender, beam_weight=0.1, rank=0, world_size=1)
    assert asked == [[0, 1, 2], [3, 4, 5], [3, 4, 5], [6, 7, 8], [9]]
    np.testing.assert_array_equal(shards.collect().item_ids, whole.item_ids)


def test_shards_of_another_task_are_not_taken(interactions, tmp_path, small_shards):
    task = fingerprint(["one"])
    run(interactions, tmp_path, 1, task)
    other = open_shards(tmp_path, "other task", interactions.num_users)
    assert other.missing() == [0, 1, 2, 3]
    assert not (tmp_path / task).exists()


def test_a_task_that_another_process_removes_meanwhile_is_none(tmp_path, monkeypatch):
    (tmp_path / fingerprint(["one"])).mkdir()
    looked = Path.is_dir

    def removed(folder, **options):
        found = looked(folder, **options)
        if found and folder.parent == tmp_path:
            folder.rmdir()
        return found

    monkeypatch.setattr(Path, "is_dir", removed)
    open_shards(tmp_path, "task", 3)
    assert not list(tmp_path.iterdir())


def test_what_else_lies_beside_the_shards_stays(interactions, tmp_path, small_shards):
    strangers = [tmp_path / "codebook" / "a.npy", tmp_path / fingerprint(["two"]) / "notes.txt"]
    for file in strangers:
        file.parent.mkdir()
        file.touch()
    (tmp_path / "table.csv").touch()
    run(interactions, tmp_path, 1, fingerprint(["one"]))
    assert all(file.exists() for file in [*strangers, tmp_path / "table.csv"])


@pytest.mark.parametrize("kept", [None, 0, -1])
def test_a_damaged_shard_is_named_and_made_again(interactions, tmp_path, small_shards, kept):
    whole = run(interactions, tmp_path, 1)
    damage(tmp_path / "task" / "shard-000002" / "item_ids.npy", kept)
    with pytest.raises(InputError, match=r"shard-000002/item_ids\.npy: (not found|truncated)"):
        open_shards(tmp_path, "task", interactions.num_users).collect()
    np.testing.assert_array_equal(run(interactions, tmp_path, 1).item_ids, whole.item_ids)


def test_a_shard_that_another_process_removed_is_named(interactions, tmp_path, small_shards):
    run(interactions, tmp_path, 1)
    shutil.rmtree(tmp_path / "task" / "shard-000001")
    with pytest.raises(InputError, match=r"shard-000001/user_indices\.npy: not found"):
        open_shards(tmp_path, "task", interactions.num_users).collect()


def test_fingerprint_changes_with_every_part():
    parts = ["a", b"b", np.arange(3)]
    assert fingerprint(parts) == fingerprint(list(parts))
    assert fingerprint(parts) != fingerprint(["a", b"b", np.array([0, 1, 3])])
    assert fingerprint(["ab"]) != fingerprint(["a", "b"])
