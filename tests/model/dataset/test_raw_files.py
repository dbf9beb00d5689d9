"""Names that are passed over, and files that nobody may read."""

import io
import os
import shutil
from pathlib import Path

import pyarrow.csv as pcsv
import pyarrow.json as pj
import pyarrow.parquet as pq
import pytest

from model.dataset.raw_data import describe_raw_data
from model.dataset.raw_files import visible_files
from model.errors import InputError
from tests.tiny import FORMATS, write_tiny_world


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def world(written, tmp_path):
    """A copy, so that files may be added to it."""
    shutil.copytree(written.folder, tmp_path / "tiny")
    return type(written)(**vars(written) | {"folder": tmp_path / "tiny"})


def forbid(monkeypatch, name):
    """Let the system forbid to open what has this name; root would be allowed everything."""

    def guarded(opener):
        def opened(path, *args, **options):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return opener(path, *args, **options)

        return opened

    for module, opener in (
        (io, "open"),
        (os, "scandir"),
        (os, "listdir"),
        (pq, "ParquetFile"),
        (pq, "read_schema"),
        (pj, "open_json"),
        (pcsv, "read_csv"),
    ):
        monkeypatch.setattr(module, opener, guarded(getattr(module, opener)))


def test_hidden_names_are_passed_over(tmp_path):
    for name in ("._b.item", ".item", "b.item", "a.item", "a.inter"):
        (tmp_path / name).touch()
    assert [path.name for path in visible_files(tmp_path, ".item")] == ["a.item", "b.item"]
    assert visible_files(tmp_path / "none") == []


def test_what_macos_writes_beside_every_file_is_passed_over(world, tmp_path):
    root = world.root("recbole")
    expected = world.modality_embedding("81", tmp_path / "a", "recbole")
    for path in list(root.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (root / "._tiny.item.gz").write_bytes(b"")
    found = world.modality_embedding("81", tmp_path / "b", "recbole")
    assert found.counts == expected.counts


def test_an_unreadable_folder_is_not_left_out(world, monkeypatch):
    forbid(monkeypatch, "seq")
    with pytest.raises(InputError, match=r"seq: cannot be read \(Permission denied\); give your"):
        describe_raw_data(world.raw_data_params("tencent_parquet"))


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("tencent_parquet", "part-00001.parquet"),
        ("tencent_parquet", "part-0.parquet"),
        ("tencent_parquet", "item_feat"),
        ("tencent_jsonl", "indexer.pkl"),
        ("tencent_jsonl", "seq.jsonl"),
        ("tencent_jsonl", "item_feat_dict.json"),
        ("tencent_jsonl", "user_action_type.json"),
        ("recbole", "recbole"),
        ("recbole", "tiny.inter"),
        ("recbole", "tiny.item"),
    ],
)
def test_what_cannot_be_read_any_more(world, monkeypatch, layout, name):
    (world.root("tencent_jsonl") / "user_action_type.json").write_text("{}")
    raw = world.raw_data(layout)
    forbid(monkeypatch, name)
    monkeypatch.setattr(type(world), "raw_data", lambda self, layout: raw)
    with pytest.raises(InputError, match=rf"{name}: cannot be read") as refused:
        world.interactions(layout)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("layout", "modality", "name"),
    [
        ("tencent_parquet", "81", "mm_emb"),
        ("tencent_parquet", "81", "emb_81_8_parquet"),
        ("tencent_jsonl", "81", "emb_81_8.pkl"),
        ("tencent_jsonl", "82", "part-00001.json"),
        ("recbole", "81", "tiny.81.parquet"),
    ],
)
def test_vectors_that_cannot_be_read_any_more(world, monkeypatch, tmp_path, layout, modality, name):
    raw, store = world.raw_data(layout), world.interactions(layout)
    forbid(monkeypatch, name)
    monkeypatch.setattr(type(world), "raw_data", lambda self, layout: raw)
    monkeypatch.setattr(type(world), "interactions", lambda self, layout: store)
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        world.modality_embedding(modality, tmp_path / "out", layout)


@pytest.mark.parametrize("layout", FORMATS)
def test_a_file_that_cannot_be_hashed(world, monkeypatch, layout):
    path = max(path for path in world.root(layout).rglob("*") if path.is_file())
    forbid(monkeypatch, path.name)
    with pytest.raises(InputError, match=rf"{path.name}: cannot be read"):
        describe_raw_data(world.raw_data_params(layout))
