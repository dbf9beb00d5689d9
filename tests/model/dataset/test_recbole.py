"""RecBole's atomic files, on data sets of a few lines (cells are separated by ``|`` here)."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model.dataset.recbole import in_hashed_order, read_recbole
from model.errors import InputError

BEAUTY = Path(__file__).parents[4] / "shared" / "data" / "amazon-beauty"
HEADER = "user_id:token|item_id:token|timestamp:float"


@pytest.fixture
def write(tmp_path):
    """Writes ``small.<suffix>`` from lines."""

    def write_files(**tables):
        for suffix, lines in tables.items():
            text = "".join(line.replace("|", "\t") + "\n" for line in lines)
            (tmp_path / f"small.{suffix}").write_text(text)
        return tmp_path

    return write_files


def histories(read):
    """Raw item ids and times by raw user."""
    names = read.raw_item_ids.to_pylist()
    found = {}
    for user, raw in enumerate(read.raw_user_ids.to_pylist()):
        events = range(read.offsets[user], read.offsets[user + 1])
        found[raw] = [(names[read.item_ids[e] - 1], int(read.timestamps[e])) for e in events]
    return found


def test_events_are_grouped_by_user_and_sorted_by_time(write):
    root = write(inter=[HEADER, "b|x|7", "a|y|5", "b|y|3", "a|x|5.9", "b|z|3", "a|x|4"])
    read = read_recbole(root)
    assert list(histories(read)) == ["b", "a"]  # first appearance
    assert histories(read) == {
        "b": [("y", 3), ("z", 3), ("x", 7)],  # equal times: as in the file
        "a": [("x", 4), ("y", 5), ("x", 5)],
    }
    assert read.action_types.tolist() == [1] * 6
    assert read.candidate_item_ids.tolist() == [1, 2, 3]
    assert read.num_known_items == 3


def test_fractions_of_a_second_decide_the_order(write):
    read = read_recbole(write(inter=[HEADER, "a|z|100.9", "a|y|100.1", "a|x|50.5", "a|w|100.1"]))
    assert histories(read) == {"a": [("x", 50), ("y", 100), ("w", 100), ("z", 100)]}


@pytest.mark.parametrize(
    ("last", "end", "is_cut"),
    [
        ("1745", "", True),
        ("174500000", "", True),
        ("1600000000", "", False),
        ("1745000009", "", False),
        ("5", "\n", False),
    ],
)
def test_a_last_number_that_lost_its_digits_is_no_early_time(tmp_path, last, end, is_cut):
    text = f"{HEADER}\na|x|1745000001\na|y|1745000002\nb|x|{last}{end}".replace("|", "\t")
    (tmp_path / "small.inter").write_text(text)
    if is_cut:
        refused(tmp_path, rf"line 4: timestamp {last} lies before all others .*, get it again")
    else:
        assert histories(read_recbole(tmp_path))["b"] == [("x", int(last))]


def test_users_follow_the_user_file_and_may_have_no_events(write):
    root = write(
        inter=[HEADER, "b|x|7", "a|y|5"],
        user=["user_id:token|age:float", "a|20", "none|", "b|30"],
    )
    read = read_recbole(root)
    assert histories(read) == {"a": [("y", 5)], "none": [], "b": [("x", 7)]}
    assert read.users.scalars["age"].tolist()[2] == 0


def test_item_ids_say_nothing_of_the_digits():
    raw = pa.array([f"i{number:05d}" for number in range(10_000)], pa.large_string())
    ordered = in_hashed_order(raw).to_pylist()
    assert sorted(ordered) == raw.to_pylist()
    numbers = np.array([int(name[1:]) for name in ordered])
    assert abs(np.corrcoef(numbers, np.arange(10_000))[0, 1]) < 0.05
    assert (np.diff(numbers) == 1).mean() < 0.001
    shuffled = raw.take(pa.array(np.random.default_rng(0).permutation(10_000)))
    assert in_hashed_order(shuffled).to_pylist() == ordered


def test_the_order_of_lines_does_not_matter(write):
    items = ["item_id:token|kind:token", "x|red", "y|blue", "z|red"]
    lines = ["a|x|1", "a|y|2", "b|z|1", "b|x|2", "b|y|3"]
    users = ["user_id:token", "a", "b"]
    expected = read_recbole(write(inter=[HEADER, *lines], item=items, user=users))
    turned = write(inter=[HEADER, *lines[::-1]], item=[items[0], *items[:0:-1]], user=users)
    found = read_recbole(turned)
    assert found.raw_item_ids.equals(expected.raw_item_ids)
    np.testing.assert_array_equal(found.item_ids, expected.item_ids)
    np.testing.assert_array_equal(found.items.scalars["kind"], expected.items.scalars["kind"])


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("action_type:token", ["0", "1", "2", ""], [0, 1, 2, 0]),
        ("action_type:float", ["0", "1.0", "2", ""], [0, 1, 2, 0]),
        ("label:float", ["0", "1", "1.0", ""], [0, 1, 1, 0]),
        ("rating:float", ["1", "5", "2.5", ""], [1, 1, 1, 1]),  # a rating is no action
    ],
)
def test_actions(write, column, cells, expected):
    lines = [f"a|x|{time}|{cell}" for time, cell in enumerate(cells)]
    read = read_recbole(write(inter=[f"{HEADER}|{column}", *lines]))
    assert read.action_types.tolist() == expected


def test_features(write):
    root = write(
        inter=[HEADER, "a|x|1", "a|y|2"],
        item=[
            "item_id:token|kind:token|tags:token_seq|price:float|vector:float_seq",
            "x|dark red|b a|3.5|1 2",
            "y||a  c|1.5|3 4",
            "z|blue||nan|",
        ],
    )
    read = read_recbole(root)
    rows = {raw: row for row, raw in enumerate(read.raw_item_ids.to_pylist(), 1)}
    order = [rows[raw] for raw in "xyz"]
    assert read.items.scalars["kind"][order].tolist() == [2, 0, 1]  # blue, dark red
    tags = read.items.arrays["tags"]
    assert tags.gather(np.array(order)).tolist() == [[2, 1], [1, 3], [0, 0]]  # a, b, c
    assert tags.gather(np.array([rows["z"]])).tolist() == [[0]]  # no wider than its rows need
    price = read.items.scalars["price"][order]
    assert price[0] > price[1] > 0
    assert price[2] == 0
    assert read.items.vocabulary_sizes["tags"] == 3
    assert read.items.vocabulary_sizes["price"] >= price.max()
    assert sorted(read.items.scalars) == ["kind", "price"]


def test_a_category_of_another_name_is_another_vocabulary(write):
    def digests(*kinds):
        items = [f"{name}|{kind}|a b|1.5" for name, kind in zip("xy", kinds, strict=True)]
        header = "item_id:token|kind:token|tags:token_seq|price:float"
        root = write(inter=[HEADER, "a|x|1", "a|y|2"], item=[header, *items])
        return read_recbole(root).items.vocabulary_digests

    before = digests("drinks", "kitchen")
    assert sorted(before) == ["kind", "tags"]
    assert digests("kitchen", "drinks") == before
    after = digests("tea", "kitchen")
    assert (after["kind"] == before["kind"], after["tags"] == before["tags"]) == (False, True)


def test_cold_candidates_bring_their_features(write):
    root = write(
        inter=[HEADER, "a|x|1", "a|y|2"],
        item=["item_id:token|kind:token|price:float", "x|red|1", "y|blue|2", "z|blue|3"],
        candidate=["item_id:token|kind:token|price:float", "new|blue|9", "y|red|1", "newer|grey|"],
    )
    read = read_recbole(root)
    names = read.raw_item_ids.to_pylist()
    assert names[3:] == ["new", "newer"]
    assert read.num_known_items == 3
    assert [names[item - 1] for item in read.candidate_item_ids] == ["y", "new", "newer"]
    assert read.items.scalars["kind"][4:].tolist() == [1, 0]  # blue; grey was never seen
    assert read.items.scalars["kind"][names.index("y") + 1] == 1  # the item file decides
    assert read.items.scalars["price"][4] == read.items.scalars["price"].max()
    assert read.items.scalars["price"][5] == 0


def test_candidates_of_another_data_set_are_noticed(write, caplog):
    read_recbole(write(inter=[HEADER, "a|x|1"], candidate=["item_id:token", "1", "2"]))
    assert "all candidates are cold: none of their 2 ids, such as 1, is an item" in caplog.text
    caplog.clear()
    read_recbole(write(inter=[HEADER, "a|x|1"], candidate=["item_id:token", "1", "x"]))
    assert "cold" not in caplog.text


def test_quotes_are_ordinary_characters(write):
    root = write(
        inter=[HEADER, "a|x|1", "a|y|2"],
        item=["item_id:token|title:token_seq", 'x|12" pan', 'y|"best" pan'],
    )
    assert read_recbole(root).items.vocabulary_sizes["title"] == 3


def refused(root, pattern):
    with pytest.raises(InputError, match=pattern) as error:
        read_recbole(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "pattern"),
    [
        (["user_id:token|item_id:token", "a|x"], r"small\.inter: column timestamp is missing"),
        (["user_id|item_id|timestamp", "a|x|1"], r"line 1: header 'user_id' must be a name"),
        ([HEADER.replace("float", "number"), "a|x|1"], r"header 'timestamp:number'"),
        ([HEADER + "|a/b:token", "a|x|1|c"], r"header 'a/b:token'"),
        ([HEADER + "|user_id:token", "a|x|1|c"], r"header 'user_id:token' must be a name of its"),
        ([HEADER.replace("timestamp:float", "timestamp:token"), "a|x|1"], "must be of type float"),
        ([HEADER], r"small\.inter: there are no rows"),
        ([HEADER, "a|x|1", "a|y"], r"small\.inter: .*line 3: Expected 3 columns, got 2"),
        (
            [HEADER, "a|x|1", "a|y|soon"],
            r"small\.inter: column timestamp: line 3: .*soon.*; correct that row",
        ),
        ([HEADER, "a|x|1", "a|y|"], r"line 3: timestamp is empty"),
        ([HEADER, "a|x|1", "a|y|inf"], r"line 3: timestamp is empty or not a number"),
        ([HEADER, "a|x|1", "a|y|1745000000000"], r"line 3: timestamp 1745000000000 is not in unix"),
        ([HEADER, "a|x|1", "a|y|-1"], r"line 3: timestamp -1 is not in unix seconds"),
        ([HEADER, "a|x|1", "|y|1"], r"line 3: user_id is empty"),
        ([HEADER, "a|x|1", "a||1"], r"line 3: item_id is empty"),
        ([HEADER + "|action_type:token", "a|x|1|0", "a|y|2|3"], r"line 3: action_type 3 is not"),
        ([HEADER + "|action_type:token", "a|x|1|0", "a|y|2|buy"], r"line 3: action_type 'buy' is"),
        (
            [HEADER + "|action_type:token", "a|x|1|0", "a|y|2| 1"],
            r"line 3: action_type ' 1' is not",
        ),
        ([HEADER, "a|x|1", "a|y|1e30"], r"line 3: timestamp 1000000000000000019884624838656 is"),
        (
            [HEADER.replace("item_id:token", "item_id:token_seq"), "a|x|1"],
            "item_id must be of type",
        ),
        (
            [HEADER.replace("item_id:token", "item_id:float"), "a|1|1"],
            "item_id must be of type tok",
        ),
        ([HEADER + "|action_type:float", "a|x|1|0", "a|y|2|1.5"], r"line 3: action_type 1.5"),
        ([HEADER + "|label:float", "a|x|1|0", "a|y|2|2"], r"line 3: label 2 is not one of 0"),
        ([HEADER + "|label:token_seq", "a|x|1|0"], "label must be of type token or float"),
    ],
)
def test_interactions_that_cannot_be(write, lines, pattern):
    refused(write(inter=lines), pattern)


@pytest.mark.parametrize(
    ("tables", "pattern"),
    [
        ({"item": ["item_id:token", "x"]}, r"line 3: item_id y has no row in small\.item"),
        ({"item": ["item_id:token", "x", "y", "x"]}, r"small\.item line 2: item_id x occurs"),
        ({"item": ["id:token", "x", "y"]}, r"small\.item: column item_id is missing"),
        ({"user": ["user_id:token", "b"]}, r"line 2: user_id a has no row in small\.user"),
        ({"user": ["user_id:token", "a", "a"]}, r"small\.user line 2: user_id a occurs more"),
        ({"candidate": ["item_id:token", "x", "x"]}, r"small\.candidate line 2: item_id x occurs"),
        ({"candidate": ["item_id:token", ""]}, r"small\.candidate"),
        ({"candidate": ["item_id:float", "1"]}, "candidate line 1: item_id must be of type token"),
        (
            {
                "item": ["item_id:token|k:token", "x|1", "y|2"],
                "candidate": ["item_id:token|k:float"],
            },
            r"small\.candidate: there are no rows",
        ),
        (
            {
                "item": ["item_id:token|k:token", "x|1", "y|2"],
                "candidate": ["item_id:token|k:float", "z|1"],
            },
            r"candidate line 1: k must be of type token, as in small\.item, and is float",
        ),
        (
            {
                "item": ["item_id:token|k:float", "x|1", "y|2"],
                "candidate": ["item_id:token|k:token_seq", "z|1"],
            },
            r"candidate line 1: k must be of type float, as in small\.item, and is token_seq",
        ),
    ],
)
def test_tables_that_cannot_be(write, tables, pattern):
    refused(write(inter=[HEADER, "a|x|1", "a|y|2"], **tables), pattern)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda content: b"", r"small\.inter: the file is empty"),
        (lambda content: content.split(b"\n")[0], "there are no rows below the header"),
        (gzip.compress, r"small\.inter: not text in UTF-8; unpack it if it is compressed"),
        (lambda content: content.decode().encode("utf-16"), "not text in UTF-8"),
        (lambda content: content + b"b\tx\t1\n" * 9_999 + b"\xff\tx\t1\n", "line 10003: .*UTF8"),
        (lambda content: content + b"\0\0\0", "line 4: Expected 3 columns, got 1"),
    ],
)
def test_bytes_that_are_no_table(write, change, pattern):
    root = write(inter=[HEADER, "a|x|1", "a|y|2"])
    file = root / "small.inter"
    file.write_bytes(change(file.read_bytes()))
    refused(root, pattern)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\n", b"\n\n"),
        lambda content: content.rstrip(b"\n"),
    ],
    ids=["byte order mark", "carriage returns", "blank lines", "no last line break"],
)
def test_text_as_other_systems_write_it(write, change):
    tables = {"inter": [HEADER, "a|x|1", "a|y|2"], "item": ["item_id:token|k:token", "x|1", "y|2"]}
    expected = histories(read_recbole(write(**tables)))
    root = write(**tables)
    for suffix in tables:
        file = root / f"small.{suffix}"
        file.write_bytes(change(file.read_bytes()))
    read = read_recbole(root)
    assert histories(read) == expected
    assert read.items.vocabulary_sizes == {"k": 2}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("last", "pattern"),
    [
        ("a|y|-1", "line 6: timestamp -1 is not"),
        ("a|y|soon", "line 6: .*soon"),
        ("a|y", "line 6: Expected 3 columns, got 2"),
    ],
)
def test_blank_lines_are_counted(tmp_path, end, last, pattern):
    lines = [HEADER, "", "a|x|1", "", "", last, ""]
    text = "".join(line.replace("|", "\t") + end for line in lines)
    (tmp_path / "small.inter").write_text(text, newline="")
    refused(tmp_path, pattern)


def test_a_row_longer_than_a_block(write):
    tables = {
        "inter": [f"{HEADER}|review:token", f"a|x|1|{'bad ' * 600_000}", "b|x|2|good"],
        "item": ["item_id:token|description:token_seq", f"x|{'long ' * 600_000}"],
    }
    read = read_recbole(write(**tables))
    assert histories(read) == {"a": [("x", 1)], "b": [("x", 2)]}
    assert read.items.arrays["description"].offsets.tolist() == [0, 0, 600_000]
    write(inter=[*tables["inter"], "b|x|soon|good"])
    refused(write(), "line 4: .*soon")


@pytest.mark.parametrize("suffix", ["item", "user", "candidate"])
@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("{}.gz", r"packed, and <name>\.{} is read; unpack it"),
        ("{}.zst", r"packed, and <name>\.{} is read; unpack it"),
        ("{}.TAR.xz", r"packed, and <name>\.{} is read; unpack it"),
        ("{}.ZIP", r"packed, and <name>\.{} is read; unpack it"),
        ("upper", r"the name that is read is <name>\.{}; rename it"),
        ("folder", r"must be a file; put the data set's own there"),
    ],
)
def test_a_table_under_another_name_is_not_taken_for_a_missing_one(write, suffix, ending, told):
    root = write(inter=[HEADER, "a|x|1"])
    if ending == "folder":
        name = suffix
        (root / f"small.{name}").mkdir()
    else:
        name = suffix.upper() if ending == "upper" else ending.format(suffix)
        (root / f"small.{name}").write_bytes(gzip.compress(b""))
    refused(root, rf"small\.{name}: {told.format(suffix)}")


def test_a_table_may_lie_beside_what_it_was_unpacked_from(write):
    root = write(inter=[HEADER, "a|x|1"], item=["item_id:token", "x"])
    for name in ("small.inter.gz", "small.item.zip", "all.tar.gz", "README.ITEM.md"):
        (root / name).write_bytes(gzip.compress(b""))
    assert histories(read_recbole(root)) == {"a": [("x", 1)]}


def test_a_packed_table_of_events_is_named(write):
    root = write(item=["item_id:token", "x"])
    (root / "small.inter.bz2").write_bytes(b"BZh9")
    refused(root, r"small\.inter\.bz2: packed, and <name>\.inter is read; unpack it")


def test_a_folder_must_hold_one_data_set(write, tmp_path):
    refused(tmp_path, r"exactly one file <name>\.inter \(found: none\)")
    write(inter=[HEADER, "a|x|1"])
    (tmp_path / "other.inter").write_text("")
    refused(tmp_path, r"found: other\.inter, small\.inter")


@pytest.mark.skipif(not BEAUTY.is_dir(), reason="Amazon Beauty is not on this machine")
def test_amazon_beauty():
    read = read_recbole(BEAUTY)
    assert (len(read.offsets) - 1, read.items.num_rows - 1) == (22_363, 12_101)
    assert len(read.item_ids) == 198_502
    assert (np.diff(read.offsets) >= 5).all()
    first = read.item_ids[: read.offsets[1]] - 1
    names = ["i05457", "i10956", "i09987", "i00085", "i01607"]
    assert read.raw_item_ids.take(pa.array(first)).to_pylist() == names
