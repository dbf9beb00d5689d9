"""Folders of vectors: the form of their shards, and what lies there by mistake."""

import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset.shard_files import shard_files
from model.dataset.vector_files import find_vectors
from model.errors import InputError

ROWS = {"a": [1.0, 2.0], "b": [3.0, 4.0]}


def lines(**vectors):
    rows = ({"anonymous_cid": raw, "emb": vector} for raw, vector in vectors.items())
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(**vectors):
    sink = pa.BufferOutputStream()
    columns = {"anonymous_cid": list(vectors), "emb": list(vectors.values())}
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "creative_emb" / "emb_81_2"
    found.mkdir(parents=True)
    return found


def read_ids(folder):
    source = find_vectors("tencent_jsonl", folder.parents[1], "81")
    return [raw for piece in source.ids() for raw in piece.to_pylist()]


def refused(folder, pattern, layout="tencent_jsonl"):
    with pytest.raises(InputError, match=pattern) as error:
        find_vectors(layout, folder.parents[1], "81")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("write", "suffixes"),
    [
        (lines, [".json", ".JSON", ".jsonl", ".ndjson", ".txt", ""]),
        (parquet, [".parquet", ".PARQUET", ".snappy", ""]),
    ],
)
def test_the_form_is_that_of_the_content_whatever_the_suffix(folder, write, suffixes):
    for suffix in suffixes:
        for path in folder.iterdir():
            path.unlink()
        for number, raw in enumerate(ROWS):
            (folder / f"part-{number}{suffix}").write_bytes(write(**{raw: ROWS[raw]}))
        assert read_ids(folder) == list(ROWS), suffix


@pytest.mark.parametrize("write", [lines, parquet])
def test_shards_stand_in_natural_order(folder, write):
    for number in (10, 2, 1):
        (folder / f"part-{number}").write_bytes(write(**{str(number): [1.0]}))
    assert read_ids(folder) == ["1", "2", "10"]


@pytest.mark.parametrize("write", [lines, parquet])
def test_what_spark_and_databricks_write_beside_shards_is_passed_over(folder, write):
    (folder / "part-0").write_bytes(write(**ROWS))
    for name in ("_SUCCESS", "_committed_7", "_started_7", "_metadata", "_common_metadata"):
        (folder / name).write_bytes(b'{"added": []}')
    assert read_ids(folder) == list(ROWS)


def test_an_empty_file_is_a_shard_of_the_others_form(folder):
    (folder / "part-0").touch()
    (folder / "part-1").write_bytes(lines(**ROWS))
    assert read_ids(folder) == list(ROWS)


def test_a_byte_order_mark_and_blank_lines_may_stand_first(folder):
    (folder / "part-0").write_bytes(b"\xef\xbb\xbf\r\n\n" + lines(**ROWS))
    assert shard_files(folder)[0] == "JSON"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("README.md", b"# Vectors", "not a data file; move it elsewhere"),
        ("LICENSE", b"All rights", "not a data file; move it elsewhere"),
        ("empty.md", b"", "not a data file; move it elsewhere"),
        ("part-0.json.gz", b"\x1f\x8b\x08", "packed; unpack it"),
        ("part-0.json.ZST", b"\x28\xb5\x2f\xfd", "packed; unpack it"),
        ("part-0.parquet.bz2", b"BZh9", "packed; unpack it"),
    ],
)
@pytest.mark.parametrize("write", [lines, parquet])
def test_what_is_no_shard_is_named(folder, write, name, content, told):
    (folder / "part-5").write_bytes(write(**ROWS))
    (folder / name).write_bytes(content)
    refused(folder, rf"emb_81_2/{name}: {told}")


def test_shards_of_two_forms_are_refused(folder):
    (folder / "part-0").write_bytes(lines(**ROWS))
    (folder / "part-1").write_bytes(parquet(**ROWS))
    refused(folder, "emb_81_2: part-1 is parquet and part-0 is JSON; keep the files of one form")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("emb_81_2.pkl.gz", r"packed, and emb_81_<width>\.pkl is read; unpack it"),
        ("emb_81_2.PKL", r"the name that is read is emb_81_<width>\.pkl; rename it"),
        ("emb_81_2_parquet.zip", "packed, and emb_81_<width>_parquet is read; unpack it"),
        ("EMB_81_2", "the name that is read is emb_81_<width>; rename it"),
    ],
)
def test_vectors_under_another_name_are_named(folder, name, told):
    folder.rmdir()
    (folder.parent / name).write_bytes(pickle.dumps(ROWS))
    refused(folder, rf"creative_emb/{name}: {told}")


def test_a_file_in_place_of_a_folder_and_the_other_way_round(folder):
    folder.rmdir()
    folder.touch()
    refused(folder, "emb_81_2: must be a folder")
    folder.unlink()
    folder.with_name("emb_81_2.pkl").mkdir()
    refused(folder, r"emb_81_2\.pkl: must be a file")


def test_a_folder_of_vectors_under_another_name(folder):
    folder.parent.rename(folder.parents[1] / "Creative_Emb")
    refused(folder, "Creative_Emb: the name that is read is creative_emb; rename it")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("my.81.parquet.gz", r"packed, and <name>\.81\.parquet is read; unpack it"),
        ("my.81.PARQUET", r"the name that is read is <name>\.81\.parquet; rename it"),
    ],
)
def test_recboles_vectors_under_another_name(folder, name, told):
    (folder.parents[1] / name).touch()
    refused(folder, rf"{name}: {told}", layout="recbole")
