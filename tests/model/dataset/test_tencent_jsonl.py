"""The competition layout: what only JSON can get wrong."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.dataset import json_candidates as candidates_module
from model.dataset import json_files, tencent_jsonl
from model.dataset.json_files import feature_columns
from model.dataset.tencent_jsonl import read_tencent_jsonl
from model.errors import InputError
from tests.tiny import NUM_KNOWN_ITEMS, json_candidates, write_tiny_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def root(world, tmp_path):
    return Path(shutil.copytree(world.root("tencent_jsonl"), tmp_path / "raw"))


def write_sequences(root, *users):
    lines = [json.dumps(user) + "\n" for user in users]
    (root / "seq.jsonl").write_text("".join(lines))
    starts = [0, *np.cumsum([len(line) for line in lines]).tolist()][:-1]
    (root / "seq_offsets.pkl").write_bytes(pickle.dumps(starts))


def event(user, item, action, time):
    return [user, item, None, {"100": 1}, action, time]


def profile(user, features):
    return [user, None, features, None, None, 99]


GOOD = [profile(1, {"103": 2, "106": [1, 3]}), event(1, 3, 0, 5), event(1, 4, None, 5)]


def refused(root, pattern):
    with pytest.raises(InputError, match=pattern) as error:
        read_tencent_jsonl(root)
    assert "\n" not in str(error.value)


def test_small_parts_give_the_same_store(root, monkeypatch):
    expected = read_tencent_jsonl(root)
    monkeypatch.setattr(tencent_jsonl, "_LINES_PER_PART", 3)
    monkeypatch.setattr(json_files, "_BYTES_PER_CHUNK", 100)
    found = read_tencent_jsonl(root)
    np.testing.assert_array_equal(found.item_ids, expected.item_ids)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    for name, column in expected.items.scalars.items():
        np.testing.assert_array_equal(found.items.scalars[name], column)
    for name, array in expected.users.arrays.items():
        np.testing.assert_array_equal(found.users.arrays[name].values, array.values)


def test_the_profile_may_stand_anywhere_or_nowhere(root):
    write_sequences(
        root,
        [event(2, 3, 1, 5), profile(2, {"103": 4}), event(2, 5, 2, 6)],
        [event(1, 3, 0, 5)],
    )
    read = read_tencent_jsonl(root)
    assert read.users.scalars["103"].tolist() == [0, 0, 4]
    assert read.offsets.tolist() == [0, 1, 3]
    assert read.action_types.tolist() == [0, 1, 2]


def test_values_unseen_in_training_are_unknown(root, world):
    lines = json_candidates(world)
    cold = next(line for line in lines if line["reid_creative_id"] > NUM_KNOWN_ITEMS)
    cold["features"] = {"100": "raw", "130": [2, "raw", 4]}
    (root / "predict_set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = read_tencent_jsonl(root)
    item = read.raw_item_ids.to_pylist().index(str(cold["creative_id"])) + 1
    assert read.items.scalars["100"][item] == 0
    array = read.items.arrays["130"]
    assert array.values[array.offsets[item] : array.offsets[item + 1]].tolist() == [2, 4]


def test_a_user_of_whom_nothing_is_known(root):
    write_sequences(root, GOOD, [[2, None, None, None, None, 5], event(2, 3, 1, 5)])
    assert read_tencent_jsonl(root).users.scalars["103"].tolist() == [0, 2, 0]


def test_without_a_prediction_set_every_known_item_is_a_candidate(root):
    (root / "predict_set.jsonl").unlink()
    read = read_tencent_jsonl(root)
    assert read.candidate_item_ids.tolist() == list(range(1, NUM_KNOWN_ITEMS + 1))
    assert read.items.num_rows == NUM_KNOWN_ITEMS + 1


def test_offsets_are_checked_and_may_be_absent(root):
    (root / "seq_offsets.pkl").unlink()
    read_tencent_jsonl(root)
    for wrong in ([0, 7], [[0], [1, 2]], "abc", {0: 1}, np.zeros((2, 2))):
        (root / "seq_offsets.pkl").write_bytes(pickle.dumps(wrong))
        refused(root, r"seq_offsets\.pkl: the offsets are not where the lines of seq\.jsonl begin")


@pytest.mark.parametrize(
    ("second", "pattern"),
    [
        ([profile(2, {"103": 1})], r"line 2 \(user_id 2\): the sequence is empty"),
        ([], r"line 2: must be a list of records"),
        ({"user": 2}, r"line 2: must be a list of records"),
        (7, r"line 2: must be a list of records"),
        ([7], r"line 2: must be a list of records"),
        ([[2, 3, None, None, 0]], r"line 2: a record has 5 fields, not 6"),
        ([event(2, "20000006363", 0, 5)], r"line 2: item_id '20000006363' is not a whole number"),
        ([event(2, 2**63, 0, 5)], r"line 2: item_id 9223372036854775808 is not a whole number be"),
        ([event(2**64 - 1, 3, 0, 5)], r"line 2: user_id 18446744073709551615 is not a whole numb"),
        ([event(2, 3, 0, 2**63)], r"line 2: timestamp 9223372036854775808 is not a whole number"),
        (
            [profile(2, {"103": 2**63}), event(2, 3, 0, 5)],
            r"line 2: feature 103 must be a .* and holds 9223372036854775808",
        ),
        (
            [profile(2, {"106": [1, 2**64 - 1]}), event(2, 3, 0, 5)],
            r"line 2: feature 106 must be a .* and holds 18446744073709551615",
        ),
        ([event("user_1", 3, 0, 5)], r"line 2: user_id 'user_1' is not a whole number"),
        ([event(99, 3, 0, 5)], r"line 2: user_id 99 is not in indexer\.pkl"),
        ([event(2, 61, 0, 5)], r"line 2 \(user_id 2\), event 0: item_id 61 is in no table"),
        ([event(2, 3, 5, 5)], r"event 0: action_type 5 is not 0"),
        ([event(2, 3, "click", 5)], r"line 2: action_type 'click' is not a whole number"),
        ([event(2, 3, 0, 5.5)], r"line 2: timestamp 5.5 is not a whole number"),
        ([event(2, 3, 0, None)], r"line 2: timestamp is null"),
        ([event(2, 3, 0, 5), event(2, 3, 0, 4)], r"event 1: timestamp 4 is earlier"),
        ([event(2, 3, 0, 1_745_000_000_000)], "is not in unix seconds"),
        ([event(2, 3, 0, 5), event(3, 3, 0, 6)], r"line 2: records of users 2 and 3 are in one"),
        ([profile(2, {"103": 7}), event(2, 3, 0, 5)], r"line 2: feature 103 has code 7"),
        (
            [profile(2, {"103": {}}), event(2, 3, 0, 5)],
            r"line 2: feature 103 must be a .* and holds \{\}",
        ),
        ([event(1, 3, 0, 5)], r"seq\.jsonl: user_id 1 has more than one row"),
        ([event(2, 3, 0, 5), event(2, None, 0, 5)], r"line 2: item_id is null; every event needs"),
        ([profile(2, [1, 2]), event(2, 3, 0, 5)], r"line 2: the user's features are \[1, 2\]"),
        ([profile(2, {"106": 1}), event(2, 3, 0, 5)], "line 2: feature 106 is a list in some pla"),
        ([profile(2, {"106": [2, "a"]}), event(2, 3, 0, 5)], "line 2: feature 106 .* holds 'a'"),
        ([profile(2, {"../103": 1}), event(2, 3, 0, 5)], r"feature '\.\./103' must be named by"),
    ],
)
def test_sequences_that_cannot_be(root, second, pattern):
    write_sequences(root, GOOD, second)
    refused(root, pattern)


@pytest.mark.parametrize("name", ["seq.jsonl", "item_feat_dict.json", "predict_set.jsonl"])
def test_a_byte_order_mark_is_passed_over(root, name):
    expected = read_tencent_jsonl(root)
    path = root / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (root / "seq_offsets.pkl").unlink()
    found = read_tencent_jsonl(root)
    np.testing.assert_array_equal(found.item_ids, expected.item_ids)
    np.testing.assert_array_equal(found.items.scalars["100"], expected.items.scalars["100"])
    assert found.raw_item_ids.equals(expected.raw_item_ids)


def test_a_file_of_nothing_but_a_byte_order_mark(root):
    (root / "seq.jsonl").write_bytes(b"\xef\xbb\xbf")
    refused(root, r"seq\.jsonl: the file is empty")


def test_a_truncated_line(root):
    path = root / "seq.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    refused(root, r"seq\.jsonl line 40: truncated or not valid JSON")


def test_exchanged_codes_are_another_vocabulary(root):
    def digest():
        return read_tencent_jsonl(root).items.vocabulary_digests["100"]

    path = root / "indexer.pkl"
    content, before = pickle.loads(path.read_bytes()), digest()
    codes = content["f"]["100"]
    content["f"]["100"] = dict(reversed(codes.items()))
    path.write_bytes(pickle.dumps(content))
    assert digest() == before
    first, second, *_ = codes
    content["f"]["100"] = codes | {first: codes[second], second: codes[first]}
    path.write_bytes(pickle.dumps(content))
    assert digest() != before


@pytest.mark.parametrize("name", ["seq.jsonl", "item_feat_dict.json", "indexer.pkl"])
def test_a_missing_file(root, name):
    (root / name).unlink()
    refused(root, rf"{name}: not found")


@pytest.mark.parametrize(
    "name",
    [
        "seq.jsonl",
        "item_feat_dict.json",
        "indexer.pkl",
        "predict_set.jsonl",
        "seq_offsets.pkl",
        "user_action_type.json",
    ],
)
def test_a_file_under_another_name_is_not_taken_for_a_missing_one(root, name):
    file = root / name
    file.touch()
    packed = file.rename(root / f"{name}.gz")
    refused(root, rf"{name}\.gz: packed, and {name} is read; unpack it")
    upper = packed.rename(root / name.upper())
    refused(root, rf"{name.upper()}: the name that is read is {name}; rename it")
    upper.unlink()
    file.mkdir()
    refused(root, rf"{name}: must be a file; put the data set's own there")


@pytest.mark.parametrize("name", ["seq.jsonl", "predict_set.jsonl"])
def test_an_empty_file(root, name):
    (root / name).write_text("")
    refused(root, rf"{name}: the file is empty")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "truncated or not valid JSON"),
        ('{"1": {"100": 1}, "2": {"100"', "truncated or not valid JSON"),
        ("[1, 2]", "must be an object of objects by re-id"),
        ('\n[{"1": {"100": 1}}, {"2": {}}]', "must be an object of objects by re-id"),
        ('{"1": 5}', "must be an object of objects by re-id"),
        ('{"1": {"100": 1}, "1": {"100": 2}, "3": {}}', "key '1' occurs twice"),
        ('{"1": {"100": 1}, "2": {}, "1": {}}', "key '1': item_id 1 occurs more than once"),
        ('{"one": {"100": 1}}', "a key is not a re-id"),
        ('{"61": {"100": 1}}', r"key '61': item_id 61 is not in indexer\.pkl"),
        ('{"1": {"100": 9}}', r"key '1': feature 100 has code 9"),
        ('{"1": {"100": 1.5}}', r"key '1': feature 100 is 1.5; it must be an integer code"),
        ('{"1": {"100": 1e30}}', r"key '1': feature 100 is 1e\+30; it must be an integer"),
        ('{"1": {"100": "red"}}', "key '1': feature 100 must be .* and holds"),
        (
            '{"1": {"100": 1}, "2": {"100": [1]}}',
            "key '2': feature 100 holds lists here and single codes",
        ),
        ('{"1": {"a/b": 1}}', "feature 'a/b' must be named by letters"),
        (
            '{"1": {"100": {"a": 1}}}',
            r"key '1': feature 100 must be a code or a list of codes and holds \{'a': 1\}; get it",
        ),
        ('{"1": {"100": 1}, "2": {"100": "3"}}', "key '2': feature 100 must be .* and holds '3'"),
        ('{"1": {"t": "a"}, "2": {"t": "b"}}', "key '1': feature t must be .* and holds 'a'"),
        ('{"1": {"100": true}}', "key '1': feature 100 must be .* and holds True"),
        ('{"1": {"130": [1]}, "2": {"130": 2}, "3": {}}', "key '2': feature 130 is a list in some"),
        (
            '{"1": {"x": 1.5}, "2": {"x": 9007199254740993}, "3": {}}',
            "key '1': feature x must be a code or a list of codes here and below",
        ),
    ],
)
def test_item_features_that_cannot_be(root, text, pattern):
    (root / "item_feat_dict.json").write_text(text)
    refused(root, rf"item_feat_dict\.json:? ?{pattern}")


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ({"retrieval_id": 0, "features": {}}, r"predict_set\.jsonl line 1: must be an object"),
        ([1, 2], r"predict_set\.jsonl line 1: must be an object"),
        ({"creative_id": 5, "retrieval_id": "x"}, "retrieval_id 'x' is not a whole number"),
        ({"creative_id": 5, "retrieval_id": 2**63}, "retrieval_id 9223372036854775808 is not a w"),
        ({"creative_id": 5, "retrieval_id": None}, "line 1: retrieval_id is null"),
        ({"creative_id": None, "retrieval_id": 1}, "line 1: creative_id None is neither"),
        ({"creative_id": 5.0, "retrieval_id": 1}, "creative_id 5.0 is neither a whole number nor"),
        (
            {"creative_id": 5, "retrieval_id": 1, "features": {"130": [[1]]}},
            r"line 1: feature 130 must be a code or a list of codes and holds \[1\]",
        ),
        ({"creative_id": 5, "retrieval_id": 1, "features": [1]}, "line 1: must be an object"),
        ({"creative_id": 5, "retrieval_id": 1, "features": "x"}, "line 1: must be an object"),
    ],
)
def test_candidates_that_cannot_be(root, line, pattern):
    (root / "predict_set.jsonl").write_text(json.dumps(line) + "\n")
    refused(root, pattern)


def test_candidates_are_read_some_lines_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "predict_set.jsonl"
    features = [
        {"1": 5, "2": [1, 2]},
        {"2": [], "3": 7, "4": [3]},
        {},
        {"5": None},
        {"1": 2.0, "2": [], "4": [1.0, "raw"]},
        {"1": "raw", "4": None, "6": 3},
        {"2": [None], "3": None},
    ]
    lines = [
        {"creative_id": 100 + row, "retrieval_id": 10 - row, "features": row_features}
        for row, row_features in enumerate(features)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = candidates_module.read_json_candidates(path)
    assert whole.features["1"].to_pylist() == [None, 0, 2, None, None, None, 5]
    at_once = []

    def counted(rows, where):
        at_once.append(len(rows))
        return feature_columns(rows, where)

    monkeypatch.setattr(candidates_module, "feature_columns", counted)
    for size in range(1, 8):
        monkeypatch.setattr(candidates_module, "_CANDIDATES_PER_PART", size)
        found = candidates_module.read_json_candidates(path)
        assert max(at_once) == size
        assert found.raw_ids.equals(whole.raw_ids)
        assert list(found.features) == list(whole.features)
        for name, column in whole.features.items():
            assert found.features[name].equals(column), (size, name)


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([1, None, [2]], r"predict_set\.jsonl line 3: feature 100 is a list in some places and a"),
        ([[1], None, 2], r"predict_set\.jsonl line 3: feature 100 is a list in some places and a"),
        ([1, None, {}], r"predict_set\.jsonl line 3: feature 100 must be a code .* holds \{\}"),
        ([1.5, 2, 2**53 + 1], r"predict_set\.jsonl: feature 100 must be .* \(Integer value 900"),
    ],
)
def test_candidates_that_do_not_go_together(root, monkeypatch, values, pattern):
    monkeypatch.setattr(candidates_module, "_CANDIDATES_PER_PART", 2)
    lines = [
        {"creative_id": row, "retrieval_id": row, "features": {"100": value}}
        for row, value in enumerate(values)
    ]
    (root / "predict_set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused(root, pattern)


def test_a_candidate_given_twice(root):
    path = root / "predict_set.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))
    refused(root, r"predict_set\.jsonl: retrieval_id 0 occurs more than once")
