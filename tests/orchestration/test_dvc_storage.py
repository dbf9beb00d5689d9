"""Bytes found by their hash: in place, in DVC's cache, in its remote, nowhere."""

import shutil

import pytest
from dvc.repo import Repo

from assets.hashing import HashCache, hash_file
from orchestration.dvc_storage import DvcStorage


@pytest.fixture
def kept(tmp_path):
    """A repository of DVC's in which a folder was added and pushed, then changed."""
    root = tmp_path / "repository"
    folder = root / "raw"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    repo = Repo.init(str(root), no_scm=True)
    with repo.config.edit() as config:
        config["remote"]["local"] = {"url": str(tmp_path / "remote")}
        config["core"].update(remote="local", analytics=False)
    repo = Repo(str(root))
    repo.add(str(folder))
    repo.push()
    digest = HashCache(None).hash_path(folder)
    files = {path.name: hash_file(path) for path in folder.iterdir()}
    (folder / "a.txt").unlink()
    (folder / "a.txt").write_text("changed")
    return root, digest, files


def _restore(root, files, target):
    return DvcStorage(root).restore(files, target, beside=root / "raw")


def test_a_folder_is_restored_from_the_cache(kept, tmp_path):
    root, digest, files = kept
    storage = DvcStorage(root)
    assert storage.holds(digest)
    assert storage.listing(digest) == files
    assert _restore(root, files, tmp_path / "again") == []
    assert (tmp_path / "again" / "a.txt").read_text() == "one"
    assert (tmp_path / "again" / "b.txt").read_text() == "two"


def test_what_the_cache_lacks_comes_from_the_remote(kept, tmp_path):
    root, digest, files = kept
    shutil.rmtree(root / ".dvc" / "cache")
    assert not DvcStorage(root).holds(digest)
    assert _restore(root, files, tmp_path / "again") == []
    assert (tmp_path / "again" / "a.txt").read_text() == "one"


def test_a_file_that_nobody_has_is_named_and_nothing_is_left_half_restored(kept, tmp_path):
    root, _, files = kept
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "remote")
    assert _restore(root, files, tmp_path / "again") == ["a.txt"]
    assert not (tmp_path / "again").exists()


def test_a_damaged_cache_is_not_believed(kept):
    root, digest, files = kept
    file = DvcStorage(root).file(files["a.txt"])
    file.chmod(0o644)
    file.write_text("rot")
    assert DvcStorage(root).file(files["a.txt"]) is None
    assert not DvcStorage(root).holds(digest)


def test_without_dvc_nothing_is_found(tmp_path):
    assert not DvcStorage(tmp_path).holds("0" * 32 + ".dir")
    assert DvcStorage(tmp_path).restore({"a": "0" * 32}, tmp_path / "x", beside=tmp_path) == ["a"]
