"""Locks on artefacts: one writer, its inputs held for reading, nothing left by the dead."""

import dataclasses
import errno
import fcntl
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import assets.locks
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path):
    file = ROOT / "params.yaml"
    return Workspace(root=ROOT, params_file=file, params=Params.load(file), data=tmp_path)


def test_a_second_writer_waits_for_the_first(workspace, caplog):
    caplog.set_level(logging.INFO, "onepiece")
    done = []

    def second():
        with workspace.exclusive("interactions"):
            done.append("second")

    waiting = threading.Thread(target=second)
    with workspace.exclusive("interactions"):
        waiting.start()
        waiting.join(0.5)
        done.append("first")
    waiting.join(10)
    assert done == ["first", "second"]
    assert "interactions: waiting, another process uses it (process " in caplog.text


def test_what_is_read_cannot_be_written_and_readers_do_not_disturb_each_other(
    workspace, monkeypatch
):
    monkeypatch.setattr(assets.locks, "LOCK_WAIT_SECONDS", 0.1)
    with workspace.exclusive("item_statistics"):
        with workspace.exclusive("modality_embeddings", "81"):  # both read the interactions
            pass
        with (
            pytest.raises(InputError, match=r"^interactions: in use .* end that process$"),
            workspace.exclusive("interactions"),
        ):
            pass


def test_a_dead_process_holds_nothing(workspace):
    code = f"""
import os
from pathlib import Path
from assets.locks import locked
import fcntl
with locked(Path({str(workspace.data / ".locks" / "interactions")!r}), fcntl.LOCK_EX):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert (workspace.data / ".locks" / "interactions").exists()
    with workspace.exclusive("interactions"):
        pass


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"../elsewhere", b"two\nlines"])
def test_a_damaged_pointer_to_a_version_is_refused_with_its_name(workspace, content):
    file = workspace.folder("submission") / "latest"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"submission/latest: not the name of a version; write"):
        workspace.current_folder("submission")


def test_a_folder_in_place_of_a_pointer_is_refused(workspace):
    (workspace.folder("champion") / "champion").mkdir(parents=True)
    with pytest.raises(InputError, match=r"champion/champion: not the name of a version"):
        workspace.input_folder("champion")


def test_a_hidden_file_among_the_raw_ones_makes_nothing_out_of_date(workspace, tmp_path):
    source = tmp_path / "delivery"
    source.mkdir()
    (source / "events.parquet").write_bytes(b"one")
    raw = workspace.params.raw_data.model_copy(
        update={"format": "tencent_parquet", "source": str(source)}
    )
    params = workspace.params.model_copy(update={"raw_data": raw})
    workspace = dataclasses.replace(workspace, params=params)
    before = workspace.recipe("raw_data")
    (source / ".DS_Store").write_bytes(b"view")
    assert workspace.recipe("raw_data") == before
    (source / "events.parquet").write_bytes(b"two")
    assert workspace.recipe("raw_data") != before


class _ReadOnly(type(Path())):
    """A path on a file system that nothing can be written to; also root, who may write anywhere."""

    def open(self, mode="r", *args, **kwargs):
        if mode != "r":
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        return super().open(mode, *args, **kwargs)


def test_where_nothing_may_be_written_a_lock_that_is_there_is_held_all_the_same(tmp_path):
    (tmp_path / "gpu").write_text("process 1")
    with (
        assets.locks.locked(_ReadOnly(tmp_path / "gpu"), fcntl.LOCK_EX),
        (tmp_path / "gpu").open() as file,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert (tmp_path / "gpu").read_text() == "process 1"
    with assets.locks.locked(_ReadOnly(tmp_path / "codebook"), fcntl.LOCK_SH):
        assert not (tmp_path / "codebook").exists()


def test_another_failure_to_open_a_lock_is_told(tmp_path):
    (tmp_path / "gpu").mkdir()
    with pytest.raises(IsADirectoryError), assets.locks.locked(tmp_path / "gpu", fcntl.LOCK_EX):
        pytest.fail("nothing is held")
