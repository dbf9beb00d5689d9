"""Files named and hashed, and noticed when they are not what they were."""

import hashlib
import os

import pytest

from model.dataset.raw_data import RawData, describe_raw_data, make_raw_data
from model.errors import InputError
from model.params import Params, RawDataParams
from tests.tiny import PARAMS_FILE


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "seq").mkdir(parents=True)
    (folder / "seq" / "b").write_bytes(b"bb")
    (folder / "a").write_bytes(b"")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "c").write_bytes(b"c")
    return folder


def params(source, layout="tencent_parquet"):
    synthetic = Params.load(PARAMS_FILE).raw_data.synthetic_world
    return RawDataParams(format=layout, source=str(source), synthetic_world=synthetic)


def test_every_visible_file_is_hashed(source):
    found = describe_raw_data(params(source))
    assert [(file.path, file.size, file.md5) for file in found.files] == [
        ("a", 0, hashlib.md5(b"").hexdigest()),
        ("seq/b", 2, hashlib.md5(b"bb").hexdigest()),
    ]


def test_the_description_is_opened_as_it_was_saved(source, tmp_path):
    made = make_raw_data(params(source), 1, tmp_path / "raw_data")
    assert RawData.load(tmp_path / "raw_data") == made
    assert made.root == source
    assert [path.name for path in (tmp_path / "raw_data").iterdir()] == ["raw_data.json"]


def test_equal_files_give_equal_bytes(source, tmp_path):
    for name in ("x", "y"):
        make_raw_data(params(source), 1, tmp_path / name)
    x, y = ((tmp_path / name / "raw_data.json").read_bytes() for name in ("x", "y"))
    assert x == y


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("file")])
def test_no_folder(tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(InputError, match=r"none: no such folder; set raw_data\.source"):
        describe_raw_data(params(tmp_path / "none"))


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="the folder is empty"):
        describe_raw_data(params(tmp_path))


def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_hashed(source, monkeypatch):
    (source / "seq" / os.fsdecode(b"\xdcbersicht.txt")).write_text("")
    monkeypatch.setattr("model.dataset.raw_data._chunks", lambda paths: pytest.fail("hashing"))
    pattern = r"/seq/\\udcdcbersicht\.txt': the name is not UTF-8; rename it"
    with pytest.raises(InputError, match=pattern) as told:
        describe_raw_data(params(source))
    assert str(told.value).isascii()


def test_files_behind_links_are_files(source, tmp_path):
    (source / "seq").rename(tmp_path / "elsewhere")
    (source / "seq").symlink_to(tmp_path / "elsewhere")
    assert [file.path for file in describe_raw_data(params(source)).files] == ["a", "seq/b"]


def test_a_link_to_nothing_is_no_file_to_pass_over(source):
    (source / "seq" / "c").symlink_to(source / "gone")
    with pytest.raises(InputError, match="seq/c: a link to nothing"):
        describe_raw_data(params(source))


def test_a_changed_file_is_noticed(source):
    raw = describe_raw_data(params(source))
    raw.require_unchanged()
    (source / "seq" / "b").write_bytes(b"bbb")
    with pytest.raises(InputError, match=r"seq/b: changed since raw_data was materialised"):
        raw.require_unchanged()
    (source / "seq" / "b").unlink()
    with pytest.raises(InputError, match=r"seq/b: gone since raw_data was materialised"):
        raw.require_unchanged()


def test_a_synthetic_world_lies_in_the_artefact(tmp_path, monkeypatch):
    def write(world, seed, folder):
        (folder / "seq").mkdir()
        (folder / "seq" / "part-0").write_text(f"seed {seed}")

    monkeypatch.setattr("model.dataset.raw_data.write_synthetic_world", write)
    made = make_raw_data(params("unused", "synthetic"), 5, tmp_path / "raw_data")
    assert made.root == tmp_path / "raw_data" / "world"
    assert (made.root / made.files[0].path).read_text() == "seed 5"
    (tmp_path / "raw_data").rename(tmp_path / "moved")
    assert RawData.load(tmp_path / "moved").root == tmp_path / "moved" / "world"


def test_a_folder_that_links_to_itself_is_refused(source):
    for name in ("latest", "current"):
        (source / name).symlink_to(".")
    with pytest.raises(InputError, match=r": a link to a folder that it lies in; remove the link"):
        describe_raw_data(params(source))
