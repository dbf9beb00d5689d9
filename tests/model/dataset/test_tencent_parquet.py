"""The public layout: both spellings of the candidates, and what is wrong named in one sentence."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset.interactions import EXPOSURE
from model.dataset.tencent_parquet import read_tencent_parquet
from model.errors import InputError
from tests.tiny import NUM_KNOWN_ITEMS, NUM_USERS, indexer, parquet_candidates, write_tiny_world

DEMO = Path(__file__).parents[4] / "shared" / "data" / "tencentgr-demo"
EVENT = pa.struct([("item_id", pa.int64()), ("action_type", pa.int32()), ("timestamp", pa.int64())])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def root(world, tmp_path):
    return Path(shutil.copytree(world.root("tencent_parquet"), tmp_path / "raw"))


def sequences(*rows, kind=EVENT):
    """A table of (user_id, [(item_id, action_type, timestamp), ...]) rows."""
    names = [field.name for field in kind]
    seqs = [seq and [dict(zip(names, event, strict=True)) for event in seq] for _, seq in rows]
    users = pa.array([user for user, _ in rows], pa.int64())
    return pa.table({"user_id": users, "seq": pa.array(seqs, pa.list_(kind))})


def replace_sequences(root, *tables):
    shutil.rmtree(root / "seq")
    (root / "seq").mkdir()
    for number, table in enumerate(tables):
        pq.write_table(table, root / "seq" / f"part-{number}.parquet")


GOOD = [(3, 0, 1_745_000_000), (5, 1, 1_745_000_000), (3, None, 1_745_000_001)]


def test_users_stand_in_order_of_their_re_ids_whatever_the_files_say(root, world):
    replace_sequences(
        root, sequences((7, GOOD), (2, GOOD[:1])), sequences((4, GOOD[:2]), (1, GOOD[1:]))
    )
    read = read_tencent_parquet(root)
    assert read.raw_user_ids.to_pylist() == [world.raw_users[user - 1] for user in (1, 2, 4, 7)]
    assert read.offsets.tolist() == [0, 2, 3, 5, 8]
    assert read.item_ids.tolist() == [5, 3, 3, 3, 5, 3, 5, 3]
    assert read.action_types.tolist() == [1, 0, 0, 0, 1, 0, 1, 0]
    for name, column in read.users.scalars.items():
        codes = world.users[name]
        assert column.tolist() == [0, *(codes[user - 1] for user in (1, 2, 4, 7))]


def test_users_without_a_row_of_events_are_counted(root, caplog):
    caplog.set_level("INFO", "onepiece")
    replace_sequences(root, sequences((7, GOOD), (2, GOOD[:1])))
    read_tencent_parquet(root)
    assert f"{NUM_USERS - 2} users of indexer.pkl have no row of events" in caplog.text


def test_files_are_read_in_natural_order(root):
    replace_sequences(root, *(sequences((user, GOOD)) for user in range(1, 13)))
    assert len(read_tencent_parquet(root).offsets) == 13


def test_a_null_action_is_an_exposure(root, caplog):
    caplog.set_level("INFO", "onepiece")
    replace_sequences(root, sequences((1, [(3, None, 5), (4, 2, 6)])))
    assert read_tencent_parquet(root).action_types.tolist() == [EXPOSURE, 2]
    assert "1 events without action_type" in caplog.text


def test_a_file_whose_actions_are_null_throughout(root):
    kind = pa.struct([EVENT.field(0), ("action_type", pa.null()), EVENT.field(2)])
    unknown = [(item, None, time) for item, _, time in GOOD]
    replace_sequences(root, sequences((1, GOOD)), sequences((2, unknown), kind=kind))
    assert read_tencent_parquet(root).action_types.tolist() == [0, 1, 0, 0, 0, 0]


def test_both_spellings_of_the_candidates(root, world):
    expected = read_tencent_parquet(root)
    path = root / "candidate" / "part-0.parquet"
    table = parquet_candidates(world, id_name="creative_id", flag="is_str")
    pq.write_table(table.append_column("reid_creative_id", [[0] * table.num_rows]), path)
    found = read_tencent_parquet(root)
    assert found.raw_item_ids.equals(expected.raw_item_ids)
    np.testing.assert_array_equal(found.candidate_item_ids, expected.candidate_item_ids)
    for name, column in expected.items.scalars.items():
        np.testing.assert_array_equal(found.items.scalars[name], column)


def test_a_known_candidate_without_a_row_of_its_own_gets_the_candidates_features(root, world):
    item = next(item for item in world.candidates if item <= NUM_KNOWN_ITEMS)
    for path in (root / "item_feat").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.filter(pa.compute.field("item_id") != item), path)
    read = read_tencent_parquet(root)
    assert read.items.scalars["100"][item] == world.items["100"][item - 1]


def test_a_release_of_vectors_alone_has_users_without_events(root, caplog):
    for name in ("seq", "user_feat", "item_feat", "candidate"):
        shutil.rmtree(root / name)
    read = read_tencent_parquet(root)
    assert len(read.offsets) == NUM_USERS + 1
    assert read.items.num_rows == NUM_KNOWN_ITEMS + 1
    assert len(read.item_ids) == 0
    assert read.candidate_item_ids.tolist() == list(range(1, NUM_KNOWN_ITEMS + 1))
    assert "nothing can be trained" in caplog.text


@pytest.mark.skipif(not DEMO.is_dir(), reason="the TencentGR demo is not on this machine")
def test_the_public_demo():
    read = read_tencent_parquet(DEMO)
    assert (len(read.offsets) - 1, read.items.num_rows - 1) == (865, 58_734)
    assert read.raw_item_ids[0].as_py() == "20002650278"
    assert read.raw_user_ids[0].as_py() == "user_01060923"


def test_asked_actions_are_read_where_they_are_named(root, world):
    text = f'{{"{world.raw_users[3]}": 2, "{world.raw_users[5]}": 1, "user_nobody": 1}}'
    (root / "user_action_type.json").write_text(text)
    expected = [-1] * NUM_USERS
    expected[3], expected[5] = 2, 1
    assert read_tencent_parquet(root).target_actions.tolist() == expected


@pytest.mark.parametrize("value", ["3", '"click"', "null", "[1]", "true", "1.0"])
def test_an_asked_action_that_is_none_is_refused(root, value):
    (root / "user_action_type.json").write_text(f'{{"user_1": {value}}}')
    with pytest.raises(InputError, match=r"user_action_type\.json: user user_1 has action type"):
        read_tencent_parquet(root)


def test_asked_actions_that_are_cut_off(root):
    (root / "user_action_type.json").write_text('{"user_1": 1')
    refused(root, r"user_action_type\.json: not valid JSON .*; get it again")


def test_asked_actions_of_users_of_another_release(root, world):
    (root / "user_action_type.json").write_text('{"1": 2, "2": 1}')
    refused(
        root, f"none of its 2 keys, such as '1', is a user of the.*such as '{world.raw_users[0]}'"
    )


def test_asked_actions_of_nobody(root):
    (root / "user_action_type.json").write_text("{}")
    assert set(read_tencent_parquet(root).target_actions.tolist()) == {-1}


def test_asked_actions_after_a_byte_order_mark(root, world):
    text = f'\ufeff{{"{world.raw_users[3]}": 2}}'
    (root / "user_action_type.json").write_text(text, encoding="utf-8")
    assert read_tencent_parquet(root).target_actions[3] == 2


@pytest.mark.parametrize("value", [1, 7])
def test_an_asked_action_of_a_key_that_is_no_text(root, value):
    (root / "user_action_type.json").write_text(f'{{"\\ud800": {value}}}')
    refused(root, r"user_action_type\.json: key '\\ud800' is not text in Unicode")


def test_candidates_of_another_release_are_noticed(root, world, caplog):
    read_tencent_parquet(root)
    assert "cold" not in caplog.text
    change_candidates(root, world, lambda t: with_column(t, "item_id", [range(t.num_rows)]))
    read_tencent_parquet(root)
    assert (
        "candidate: all candidates are cold: none of their 33 ids, such as 0, is an "
        f"item of the data, such as {world.raw_items[0]}"
    ) in caplog.text


def refused(root, pattern):
    with pytest.raises(InputError, match=pattern) as error:
        read_tencent_parquet(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        ([(1, GOOD), (2, [])], r"part-0\.parquet row 1 \(user_id 2\): the sequence is empty"),
        ([(1, GOOD), (2, None)], r"row 1 \(user_id 2\): the sequence is empty"),
        ([(1, [(61, 0, 5)])], r"row 0 \(user_id 1\), event 0: item_id 61 is in no table"),
        ([(1, [(3, 0, 5), (0, 0, 5)])], r"event 1: item_id 0 is in no table"),
        ([(1, [(3, 0, 5), (-1, 0, 5)])], r"event 1: item_id -1 is in no table"),
        ([(1, [(None, 0, 5)])], r"row 0 \(user_id 1\): item_id is null"),
        ([(1, [(3, 0, None)])], r"row 0 \(user_id 1\): timestamp is null"),
        ([(1, GOOD), (2, [(3, 3, 5)])], r"row 1 .* event 0: action_type 3 is not 0"),
        ([(1, [(3, -1, 5)])], r"event 0: action_type -1 is not 0"),
        ([(1, [(3, 0, 5), (4, 0, 4)])], r"event 1: timestamp 4 is earlier"),
        ([(1, [(3, 0, 1_745_000_000_000)])], r"event 0: timestamp 1745000000000 is not in unix se"),
        ([(1, [(3, 0, -5)])], r"timestamp -5 is not in unix seconds \(before 1970"),
        ([(0, GOOD)], r"row 0: user_id 0 is not in indexer\.pkl \(1 to 40\)"),
        ([(41, GOOD)], r"user_id 41 is not in indexer\.pkl"),
        ([(None, GOOD)], r"row 0: user_id is null"),
        ([(1, GOOD), (2, GOOD), (1, GOOD)], r"seq: user_id 1 has more than one row"),
    ],
)
def test_sequences_that_cannot_be(root, rows, pattern):
    replace_sequences(root, sequences(*rows))
    refused(root, pattern)


def test_a_history_of_a_hundred_thousand_events(root):
    events = [(1 + n % 60, n % 3, 1_745_000_000 + n) for n in range(100_000)]
    replace_sequences(root, sequences((1, GOOD), (2, events)))
    read = read_tencent_parquet(root)
    assert np.diff(read.offsets)[:2].tolist() == [3, 100_000]
    assert read.timestamps[[3, -1]].tolist() == [1_745_000_000, 1_745_099_999]


def test_the_row_is_counted_in_its_file(root):
    replace_sequences(root, sequences((1, GOOD)), sequences((2, GOOD), (3, GOOD), (4, [(3, 7, 5)])))
    refused(root, r"seq/part-1\.parquet row 2 \(user_id 4\), event 0: action_type 7")


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (EVENT.field(0), None),
        (
            pa.struct([("item_id", pa.string()), ("action_type", pa.int32()), EVENT.field(2)]),
            r"item_id in column seq must be an integer and is string",
        ),
        (
            pa.struct([EVENT.field(0), EVENT.field(1), ("timestamp", pa.float64())]),
            r"timestamp in column seq must be an integer and is double",
        ),
        (pa.struct([EVENT.field(0), EVENT.field(2)]), r"action_type is missing"),
    ],
)
def test_sequences_of_another_type(root, kind, pattern):
    if pattern is None:
        table = pa.table({"user_id": [1], "seq": [[1, 2]]})
        pattern = "must be a list of structs"
    else:
        values = {"item_id": 1, "action_type": 0, "timestamp": 5}
        if kind.field(0).type == pa.string():
            values["item_id"] = "1"
        row = [{field.name: values[field.name] for field in kind}]
        table = pa.table({"user_id": [1], "seq": pa.array([row], pa.list_(kind))})
    replace_sequences(root, table)
    refused(root, pattern)


@pytest.mark.parametrize(
    ("table", "pattern"),
    [
        (pa.table({"user": [1], "seq": [[]]}), r"part-0\.parquet: column user_id is missing"),
        (pa.table({"user_id": [1], "sequence": [[]]}), "column seq is missing"),
        (pa.table({"user_id": ["1"], "seq": [[]]}), "user_id must be an integer and is string"),
        (pa.table({"user_id": [1], "seq": ["x"]}), "seq must be a list and is string"),
    ],
)
def test_columns_missing_or_of_another_type(root, table, pattern):
    replace_sequences(root, table)
    refused(root, pattern)


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_a_missing_folder(root, name):
    shutil.rmtree(root / name)
    refused(root, rf"raw/{name}: no such folder")


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
@pytest.mark.parametrize("others", [True, False])
def test_a_folder_under_another_name(root, name, others):
    """Without any of the four a release is taken for one of vectors alone."""
    folder = (root / name).rename(root / name.upper())
    for other in {"seq", "user_feat", "item_feat", "candidate"} - {name}:
        if not others:
            shutil.rmtree(root / other)
    refused(root, rf"{name.upper()}: the name that is read is {name}; rename it")
    shutil.rmtree(folder)
    (root / f"{name}.tar.gz").touch()
    refused(root, rf"{name}\.tar\.gz: packed, and {name} is read; unpack it")
    (root / f"{name}.tar.gz").rename(root / name)
    refused(root, rf"raw/{name}: must be a folder; put the data set's own there")


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_an_empty_folder(root, name):
    shutil.rmtree(root / name)
    (root / name).mkdir()
    refused(root, rf"raw/{name}: the folder is empty")


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_a_folder_among_the_files(root, name):
    (root / name / "part-00009.parquet").mkdir()
    refused(root, rf"{name}/part-00009\.parquet: a folder where only files belong")


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("README.md", b"# Shards", "not a data file; move it elsewhere"),
        ("LICENSE", b"All rights", "not a data file; move it elsewhere"),
        ("part-0.parquet.gz", b"\x1f\x8b", "packed; unpack it"),
        ("part-0.ZST", b"", "packed; unpack it"),
        ("schema.json", b"{}", "JSON where parquet files are read; move it elsewhere"),
    ],
)
def test_a_file_that_is_no_shard(root, name, file, content, told):
    (root / name / file).write_bytes(content)
    refused(root, rf"{name}/{file}: {told}")


def test_shards_of_any_name_are_read_and_what_spark_writes_beside_them_is_not(root):
    expected = read_tencent_parquet(root)
    first, second = sorted((root / "seq").iterdir())
    first.rename(root / "seq" / "part-0")
    second.rename(root / "seq" / "part-1.snappy")
    for name in ("_SUCCESS", "_committed_7", "_started_7", "_metadata", "_common_metadata"):
        (root / "seq" / name).write_bytes(b"{}")
    np.testing.assert_array_equal(read_tencent_parquet(root).item_ids, expected.item_ids)


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_a_column_that_is_there_twice(root, name):
    path = max((root / name).iterdir())
    table = pq.read_table(path)
    pq.write_table(table.append_column(table.column_names[-1], table[-1]), path)
    refused(root, rf"{path.name}: column \w+ occurs more than once")


@pytest.mark.parametrize("name", ["seq", "candidate"])
def test_files_without_rows(root, name):
    for path in (root / name).iterdir():
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    refused(root, rf"raw/{name}: its files hold no (rows|candidates); get them again")


@pytest.mark.parametrize("place", ["part-0", "part-9"])
@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_an_empty_file_whose_columns_have_no_type(root, world, name, place):
    expected = read_tencent_parquet(root)
    path = next(iter((root / name).iterdir()))
    empty = pq.read_table(path).slice(0, 0).to_pandas().astype(object)
    empty.to_parquet(root / name / f"{place}-empty.parquet")
    assert pq.read_schema(root / name / f"{place}-empty.parquet").types[-1] == pa.null()
    found = read_tencent_parquet(root)
    np.testing.assert_array_equal(found.item_ids, expected.item_ids)
    assert found.raw_item_ids.equals(expected.raw_item_ids)
    assert found.users.vocabulary_sizes == expected.users.vocabulary_sizes


@pytest.mark.parametrize("values", [1_700_000_000, -1, "a note"])
def test_a_column_that_the_indexer_does_not_know_is_no_feature(root, values, caplog):
    expected = read_tencent_parquet(root).items.vocabulary_sizes
    for path in (root / "item_feat").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.append_column("noted", pa.array([values] * len(table))), path)
    assert read_tencent_parquet(root).items.vocabulary_sizes == expected
    assert caplog.text.count("column noted is no feature of indexer.pkl and is left out") == 1


def test_users_without_features(root):
    for path in (root / "user_feat").iterdir():
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert read_tencent_parquet(root).users.scalars == {}


@pytest.mark.parametrize("kind", [pa.large_list(EVENT), pa.list_(EVENT, 3)])
def test_sequences_of_any_list_type(root, kind):
    rows = [(user, GOOD) for user in (3, 40)]
    expected = sequences(*rows)
    replace_sequences(root, expected.set_column(1, "seq", expected["seq"].cast(kind)))
    assert read_tencent_parquet(root).action_types.tolist() == [0, 1, 0] * 2


def test_sequences_beyond_64_bits(root):
    kind = pa.struct([("item_id", pa.uint64()), EVENT.field(1), EVENT.field(2)])
    replace_sequences(root, sequences((1, GOOD), (2, [(3, 0, 5), (2**63 + 5, 0, 5)]), kind=kind))
    refused(root, r"row 1 \(user_id 2\): item_id 9223372036854775813 is beyond 64 bits")


def test_a_feature_in_two_forms(root):
    path = root / "user_feat" / "part-00001.parquet"
    table = pq.read_table(path)
    for name, values, form in (("103", [[1]], "lists"), ("106", [1], "single codes")):
        changed = table.set_column(
            table.column_names.index(name), name, pa.array(values * table.num_rows)
        )
        pq.write_table(changed, path)
        refused(root, rf"part-00001\.parquet row 0: feature {name} holds {form} here and")


def test_a_file_whose_feature_is_null_throughout(root, world):
    """Its column has no type of its own; the other files decide."""
    path = root / "user_feat" / "part-00001.parquet"
    table = pq.read_table(path)
    for name in ("103", "106"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.nulls(table.num_rows))
    pq.write_table(table, path)
    users = read_tencent_parquet(root).users
    assert sorted(users.scalars) == ["103", "104"]
    assert sorted(users.arrays) == ["106", "108"]
    assert users.scalars["103"].tolist() == [0, *world.users["103"][:20], *[0] * 20]


@pytest.mark.parametrize("index", [None, "row"])
def test_the_index_of_pandas_is_no_feature(root, index):
    expected = read_tencent_parquet(root)
    for name in ("user_feat", "item_feat"):
        for path in (root / name).iterdir():
            frame = pq.read_table(path).to_pandas(types_mapper=pd.ArrowDtype)
            frame.sample(frac=1, random_state=0).rename_axis(index).to_parquet(path)
    found = read_tencent_parquet(root)
    for left, right in ((found.items, expected.items), (found.users, expected.users)):
        assert left.vocabulary_sizes == right.vocabulary_sizes
        assert list(left.scalars) == list(right.scalars)


def test_an_index_without_the_notes_of_pandas_is_no_feature(root):
    path = root / "item_feat" / "part-00000.parquet"
    table = pq.read_table(path)
    numbers = pa.array(range(table.num_rows))
    pq.write_table(table.append_column("__index_level_0__", numbers), path)
    assert sorted(read_tencent_parquet(root).items.scalars) == ["100", "102"]


def test_ids_that_are_the_index_of_pandas_are_read(root):
    expected = read_tencent_parquet(root)
    for path in (root / "item_feat").iterdir():
        frame = pq.read_table(path).to_pandas(types_mapper=pd.ArrowDtype)
        frame.set_index("item_id").to_parquet(path)
    found = read_tencent_parquet(root)
    np.testing.assert_array_equal(found.items.scalars["100"], expected.items.scalars["100"])


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
@pytest.mark.parametrize("kept", [0, 3, 200, -40])
def test_a_truncated_file(root, name, kept):
    path = max((root / name).iterdir())
    path.write_bytes(path.read_bytes()[:kept])
    refused(root, rf"{path.name}: truncated or not a valid parquet file")


def test_a_damaged_page(root):
    """The footer is whole, the data is not."""
    path = root / "seq" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    refused(root, r"part-00000\.parquet: truncated or not a valid parquet file")


@pytest.mark.parametrize(
    ("name", "change", "pattern"),
    [
        ("item_feat", {"item_id": [1, 1]}, r"part-0\.parquet row 1: item_id 1 occurs more"),
        ("item_feat", {"item_id": [1, 99]}, r"row 1: item_id 99 is not in indexer\.pkl"),
        ("item_feat", {"item_id": ["1", "2"]}, "item_id must be an integer and is string"),
        ("item_feat", {"100": [1, 5]}, r"row 1: feature 100 has code 5, its vocabulary has 1 to 4"),
        ("item_feat", {"100": [-1, 1]}, r"row 0: feature 100 has code -1"),
        ("item_feat", {"100": ["a", "b"]}, r"column 100 must hold integers or lists"),
        ("item_feat", {"100": [1.0, 1.5]}, r"row 1: feature 100 is 1.5; it must be an integer"),
        ("item_feat", {"100": [1.0, float("nan")]}, r"row 1: feature 100 is nan; it must be an"),
        ("user_feat", {"103": pa.array([1, 2**63], pa.uint64())}, r"row 1: feature 103 is 9.2"),
        ("user_feat", {"106": [[1.0], [1.0, 1.5]]}, r"row 1: feature 106 is 1.5; it must be an"),
        ("user_feat", {"106": [["1"], ["2"]]}, r"column 106 must hold integers or lists"),
        ("user_feat", {"a/b": [1, 2]}, r"part-0\.parquet: feature 'a/b' must be named by letters"),
        ("user_feat", {"../x": [[1], [2]]}, r"feature '\.\./x' must be named by letters"),
        ("item_feat", {"130": [[1], [2, 6]]}, r"row 1: feature 130 has code 6"),
        ("user_feat", {"user_id": [7, 7]}, r"row 1: user_id 7 occurs more than once"),
        ("user_feat", {"103": [1, 7]}, r"row 1: feature 103 has code 7"),
    ],
)
def test_feature_tables_that_cannot_be(root, name, change, pattern):
    key = name.replace("feat", "id")
    shutil.rmtree(root / name)
    (root / name).mkdir()
    columns = {key: [1, 2]} | change
    pq.write_table(pa.table(columns), root / name / "part-0.parquet")
    refused(root, pattern)


def test_an_item_that_stands_in_two_files(root):
    first = root / "item_feat" / "part-00000.parquet"
    shutil.copy(first, root / "item_feat" / "part-00002.parquet")
    refused(root, r"part-00002\.parquet row 0: item_id \d+ occurs more than once")


def change_candidates(root, world, edit):
    table = edit(parquet_candidates(world).sort_by("retrieval_id"))
    pq.write_table(table, root / "candidate" / "part-0.parquet")


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("edit", "pattern"),
    [
        (lambda t: t.drop_columns("item_id"), "neither column item_id nor creative_id is there"),
        (lambda t: t.drop_columns("retrieval_id"), "column retrieval_id is missing"),
        (
            lambda t: with_column(t, "retrieval_id", pa.array([0, *range(t.num_rows - 1)])),
            "candidate: retrieval_id 0 occurs more than once",
        ),
        (
            lambda t: with_column(t, "item_id", pa.array([5, 5, *range(10, t.num_rows + 8)])),
            "candidate 5 occurs more than once",
        ),
        (
            lambda t: with_column(t, "item_id", pa.array([None, *range(1, t.num_rows)])),
            r"row 0: item_id is null",
        ),
        (
            lambda t: with_column(
                t, "100", pa.array([{"cold_start": 0, "feature_value": "red"}] * t.num_rows)
            ),
            r"part-0\.parquet row 0: column 100 holds 'red', which is neither a code nor flagged",
        ),
        *(
            (
                lambda t, value=value: with_column(
                    t,
                    "100",
                    pa.array(
                        [
                            {"cold_start": 0, "feature_value": v}
                            for v in ["1", value] + ["2"] * (t.num_rows - 2)
                        ]
                    ),
                ),
                rf"part-0\.parquet row 1: column 100 holds {value!r}, which is neither a code nor",
            )
            for value in ("4.0", "")
        ),
        (
            lambda t: with_column(
                t,
                "130",
                pa.array([{"cold_start": 0, "feature_value": ["1", "x"]}] * t.num_rows),
            ),
            r"row 0: column 130 holds \['1', 'x'\], which is neither a code nor",
        ),
        (
            lambda t: with_column(
                t, "100", pa.array([{"cold_start": 0, "feature_value": "9"}] * t.num_rows)
            ),
            r"candidate item 2\d+: feature 100 has code 9, its vocabulary has 1 to 4",
        ),
        (
            lambda t: with_column(
                t, "100", pa.array([{"cold_start": "no", "feature_value": "1"}] * t.num_rows)
            ),
            r"part-0\.parquet: cold_start in column 100 must be 0 or 1 \(.*'no'",
        ),
        (
            lambda t: with_column(t, "100", pa.array([1] * t.num_rows)),
            "100 must be a struct and is",
        ),
        (
            lambda t: with_column(t, "100", pa.array([{"value": "1"}] * t.num_rows)),
            r"column 100 has the fields value; the published fields are",
        ),
    ],
)
def test_candidates_that_cannot_be(root, world, edit, pattern):
    change_candidates(root, world, edit)
    refused(root, pattern)


@pytest.mark.parametrize("name", ["item_id", "100"])
def test_texts_in_another_encoding(root, world, name):
    def latin(number):
        texts = [b"caf\xe9"] * number
        return pa.array(texts).view(pa.string())

    def edit(table):
        if name == "item_id":
            return with_column(table, name, latin(table.num_rows))
        flags = pa.array([0] * table.num_rows)
        fields = ["cold_start", "feature_value"]
        return with_column(
            table, name, pa.StructArray.from_arrays([flags, latin(table.num_rows)], fields)
        )

    change_candidates(root, world, edit)
    refused(root, r"part-0\.parquet: truncated or not a valid parquet file \(.*UTF8")


@pytest.mark.parametrize("name", ["seq", "user_feat", "item_feat", "candidate"])
def test_a_damaged_name_of_a_column(root, name):
    path = max((root / name).iterdir())
    column = pq.read_schema(path).names[-1].encode()
    footer = path.read_bytes().rindex(b"PAR1") - 4
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[footer : footer + 4], "little")
    start = footer - size
    content[start:footer] = content[start:footer].replace(column, b"\xff" * len(column))
    path.write_bytes(content)
    refused(root, rf"{path.name}: truncated or not a valid parquet file")


def test_candidates_in_several_files(root, world):
    expected = read_tencent_parquet(root)
    table = parquet_candidates(world)
    pq.write_table(table.slice(0, 10), root / "candidate" / "part-0.parquet")
    second = root / "candidate" / "part-1.parquet"
    pq.write_table(table.slice(10), second)
    found = read_tencent_parquet(root)
    assert found.raw_item_ids.equals(expected.raw_item_ids)
    pq.write_table(table.slice(10).drop_columns("100"), second)
    refused(root, r"part-1\.parquet: column 100 is not the one of the first candidate file")
    pq.write_table(with_column(table, "100", table["130"]).slice(10), second)
    refused(root, r"part-1\.parquet: column 100 is not the one of the first candidate file")


@pytest.mark.parametrize("edit", [lambda row: 3 * row + 7, lambda row: row - 5])
def test_retrieval_ids_may_have_gaps(root, world, edit):
    expected = read_tencent_parquet(root)
    order = parquet_candidates(world).sort_by("retrieval_id")["retrieval_id"].to_pylist()
    ids = pa.array(map(edit, order), pa.int32())
    change_candidates(root, world, lambda t: with_column(t, "retrieval_id", ids))
    assert read_tencent_parquet(root).raw_item_ids.equals(expected.raw_item_ids)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_raw_ids_of_any_string_type(root, world, kind):
    expected = read_tencent_parquet(root)
    ids = parquet_candidates(world).sort_by("retrieval_id")["item_id"].cast(pa.string()).cast(kind)
    change_candidates(root, world, lambda t: with_column(t, "item_id", ids))
    assert read_tencent_parquet(root).raw_item_ids.equals(expected.raw_item_ids)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda content: content.pop("u"), "key 'u' is missing"),
        (lambda content: content.update(i=[1, 2]), "key 'i' is missing or not a dict"),
        (lambda content: content["i"].update({5: 1}), "the re-ids of 'i' are not 1 to 61"),
        (lambda content: content["u"].update(x=99), "the re-ids of 'u' are not 1 to 41"),
        (lambda content: content["i"].update({"5": 61}), "the raw ids of 'i' are of several types"),
        (lambda content: content["u"].update(x="one"), "'u' must map to 32-bit integers"),
        (lambda content: content["u"].update(x=10**30), "'u' must map to 32-bit integers"),
        (lambda content: content["i"].update({5: 61.5}), "'i' must map to 32-bit integers"),
        (lambda content: content["f"].update({"100": {1: 2**40}}), "'100' must map to 32-bit"),
        (lambda content: content["f"].update({"100": {1: 10**30}}), "'100' must map to 32-bit"),
        (
            lambda content: content["i"].update({None: 61}),
            "the raw ids of 'i' are of several types",
        ),
        (lambda content: content["i"].update({2**70: 61}), "the raw ids of 'i' are of several typ"),
        (lambda content: content["u"].update({"\ud800": 41}), "the raw ids of 'u' are of several"),
        (lambda content: content.update(i={}), "'i' is empty"),
    ],
)
def test_indexers_that_cannot_be(root, world, change, pattern):
    content = indexer(world)
    change(content)
    (root / "indexer.pkl").write_bytes(pickle.dumps(content))
    refused(root, rf"indexer\.pkl: {pattern}")


def test_a_missing_indexer(root):
    (root / "indexer.pkl").unlink()
    refused(root, r"indexer\.pkl: not found")
    (root / "indexer.pkl").mkdir()
    refused(root, r"indexer\.pkl: must be a file")
