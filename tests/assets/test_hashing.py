"""Content hashes: by hand, and against DVC itself."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from assets.hashing import HashCache, hash_listing, linked_folder, list_files
from model.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.bin").write_bytes(b"two\r\nlines")
    (folder / "inner" / "a.json").write_text("{}\n")
    (folder / "ünï.txt").write_text("name outside ASCII")
    return folder


def test_a_listing_is_the_md5_of_sorted_json():
    written = '[{"md5": "1", "relpath": "a"}, {"md5": "2", "relpath": "b/c"}]'
    assert json.loads(written)  # what stands there is the JSON that DVC stores
    expected = hashlib.md5(written.encode()).hexdigest() + ".dir"
    assert hash_listing({"b/c": "2", "a": "1"}) == expected


def test_a_folder_hashes_to_what_dvc_records(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.add("folder")
    recorded = yaml.safe_load((tmp_path / "folder.dvc").read_text())["outs"][0]["md5"]
    assert HashCache(None).hash_path(folder) == recorded


def test_what_dvcignore_leaves_out_does_not_count(folder):
    before = HashCache(None).hash_path(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.py").write_text("")
    (folder / "y.pyc").write_text("")
    (folder / ".b.bin.partial-1").write_text("")
    assert HashCache(None).hash_path(folder) == before
    assert list_files(folder) == ["b.bin", "inner/a.json", "ünï.txt"]


def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_hashed(folder, monkeypatch):
    monkeypatch.setattr("assets.hashing.hash_file", lambda path: pytest.fail("hashing"))
    name = os.fsdecode(b"\xdcbersicht.txt")
    (folder / name).write_text("")
    with pytest.raises(InputError, match=r"\\udcdcbersicht\.txt': the name is not UTF-8; rename"):
        HashCache(None).hash_visible(folder)


def hide_files(folder):
    (folder / ".DS_Store").write_bytes(b"view")
    (folder / "inner" / "._a.json").write_bytes(b"fork")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").touch()


def test_hidden_files_of_a_delivery_do_not_count(folder):
    before = HashCache(None).hash_visible(folder)
    assert before == HashCache(None).hash_path(folder)
    hide_files(folder)
    assert HashCache(None).hash_visible(folder) == before
    assert HashCache(None).hash_path(folder) != before
    (folder / "inner" / "a.json").write_text("{ }")
    assert HashCache(None).hash_visible(folder) != before


def test_dvc_passes_over_the_same_files_below_data_raw(folder, tmp_path, monkeypatch):
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    world = shutil.copytree(folder, tmp_path / "data" / "raw" / "world")
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True, force=True) as repo:
        repo.add("data/raw/world")
    hide_files(world)
    with Repo(str(tmp_path)) as repo:
        assert repo.status() == {}
        (world / "new.json").touch()
        assert repo.status() != {}


def test_a_changed_byte_is_seen_through_the_cache(folder, tmp_path):
    cache = HashCache(tmp_path / "cache.json")
    before = cache.hash_files(folder)
    (folder / "b.bin").write_bytes(b"two\r\nLines")  # the same size
    after = HashCache(tmp_path / "cache.json").hash_files(folder)
    assert after["b.bin"] != before["b.bin"]
    assert {**after, "b.bin": before["b.bin"]} == before


def test_an_unchanged_file_is_not_read_again(folder, tmp_path):
    cache_file = tmp_path / "cache.json"
    HashCache(cache_file).hash_files(folder)
    known = json.loads(cache_file.read_text())
    path = str((folder / "b.bin").absolute())
    known[path][3] = "remembered"
    cache_file.write_text(json.dumps(known))
    assert HashCache(cache_file).hash_file(folder / "b.bin") == "remembered"
    os.utime(folder / "b.bin", ns=(1, 1))
    assert HashCache(cache_file).hash_file(folder / "b.bin") != "remembered"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_cache_is_forgotten(folder, tmp_path, content):
    (tmp_path / "cache.json").write_text(content)
    assert HashCache(tmp_path / "cache.json").hash_path(folder) == HashCache(None).hash_path(folder)


def test_a_folder_behind_a_link_counts(folder, tmp_path):
    before = HashCache(None).hash_path(folder)
    (folder / "inner").rename(tmp_path / "elsewhere")
    (folder / "inner").symlink_to(tmp_path / "elsewhere")
    assert HashCache(None).hash_path(folder) == before


def test_what_is_no_file_is_refused(folder, tmp_path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="folder/pipe: a link to nothing, or not a file"):
        HashCache(None).hash_path(folder)
    (folder / "pipe").unlink()
    (folder / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="folder/link: a link to nothing, or not a file"):
        HashCache(None).hash_path(folder)


@pytest.mark.parametrize("name", [".git", ".hg", ".dvc"])
def test_what_dvc_ignores_by_itself_does_not_count(folder, name):
    before = HashCache(None).hash_path(folder)
    (folder / name).mkdir()
    (folder / name / "HEAD").write_text("another revision")
    assert HashCache(None).hash_path(folder) == before


def test_links_that_lead_upwards_are_refused_and_not_walked_for_ever(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    list_files(folder)  # the same folder twice is none
    for name in ("back", "up"):
        (tmp_path / "elsewhere" / name).symlink_to(folder)
    with pytest.raises(InputError, match=r"(back|up): a link to a folder that it lies in; remove"):
        list_files(folder)


def test_a_linked_folder_is_named(folder, tmp_path):
    assert linked_folder(folder) is None
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert linked_folder(folder) == folder / "link"


def test_a_folder_that_cannot_be_read_is_refused(folder, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="Permission denied; make it readable"):
        list_files(folder)
