"""`onepiece recommend`: the same model's answer, for a history that is given."""

import json

import pyarrow.parquet as pq
import pytest
import yaml

from assets.workspace import SUBMISSION
from model.dataset.interactions import CLICK, Interactions
from model.inference.submission_files import TABLE
from orchestration.explanation import champions
from orchestration.recommendation import as_rows, as_table, recommend


def _submitted(workspace):
    return pq.read_table(workspace.current_folder(SUBMISSION) / TABLE)


def test_a_user_to_whom_nothing_is_added_gets_the_ten_of_the_submission(finished):
    submitted = _submitted(finished.workspace).slice(30, 10)
    user = submitted["user_id"][0].as_py()
    done = finished.onepiece("recommend", "--user", user, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    for name in ("rank", "raw_item_id", "path", "sid"):
        assert [row[name] for row in rows] == submitted[name].to_pylist(), name
    assert [row["score"] for row in rows] == pytest.approx(submitted["score"].to_pylist())


def test_the_search_index_of_the_submission_is_the_one_that_is_asked(copied):
    params = yaml.safe_load(copied.params_file.read_text())
    params["cascade"]["search"] = "ivf"
    copied.params_file.write_text(yaml.safe_dump(params))
    assert copied.onepiece("materialize", "submission", "--only").returncode == 0
    kept = sorted((copied.data / "search_index").rglob("*"))
    assert kept
    submitted = _submitted(copied.workspace).slice(30, 10)
    user = submitted["user_id"][0].as_py()
    found = recommend(copied.workspace, [], action="click", user=user)
    assert [row["raw_item_id"] for row in as_rows(found)] == submitted["raw_item_id"].to_pylist()
    recommend(copied.workspace, submitted["raw_item_id"].to_pylist()[:3], action="click", user=None)
    assert sorted((copied.data / "search_index").rglob("*")) == kept


def test_what_is_added_counts_as_history_and_changes_the_answer(finished):
    submitted = _submitted(finished.workspace).slice(0, 10)
    user, first = submitted["user_id"][0].as_py(), submitted["raw_item_id"][0].as_py()
    found = recommend(finished.workspace, [first], action="click", user=user)
    newest = found.history[0]
    assert (newest.item, newest.action) == (first, CLICK)
    ten = [row["raw_item_id"] for row in as_rows(found)]
    assert len(set(ten)) == 10
    assert first not in ten


def test_a_history_of_nobody_is_answered_in_a_terminal(finished):
    events = Interactions.load(finished.workspace.folder("interactions"))
    items = events.raw_item_ids.slice(3, 2).to_pylist()
    done = finished.onepiece("recommend", *items, "--action", "conversion")
    assert done.returncode == 0, done.stderr
    found = recommend(finished.workspace, items, action="conversion", user=None)
    assert done.stdout == as_table(found) + "\n"
    assert done.stdout.startswith("After 2 events:\n")
    assert [event.item for event in found.history] == items[::-1]
    assert len(done.stdout.splitlines()) == 12
    assert found.settings["beam_weight"] == champions(finished.workspace)[1]


def test_an_item_that_is_not_in_the_data_is_one_sentence(finished):
    done = finished.onepiece("recommend", "typo")
    assert done.returncode == 2
    assert done.stderr.startswith("onepiece: no item 'typo' in this data; ids look like ")
    assert len(done.stderr.splitlines()) == 1
