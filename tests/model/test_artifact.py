"""Folders appear whole or not at all, whatever happens while they are written."""

import ctypes
import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model import partial_folders
from model.artifact import (
    atomic_folder,
    atomic_write,
    first_value,
    open_array,
    read_json,
    require_folder,
    write_json,
)
from model.errors import InputError
from model.partial_folders import finish_exchange, publish_folder
from tests.damage import damage


def _contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "made") as out:
            (out / f"{text}.txt").write_text(text)
    assert _contents(tmp_path / "made") == {"new.txt": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def _let_exchanges_fail(monkeypatch, error):
    def renameat2(*arguments):
        ctypes.set_errno(error)
        return -1

    libc = SimpleNamespace(renameat2=renameat2)
    monkeypatch.setattr("model.partial_folders.ctypes.CDLL", lambda *name, **options: libc)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_exchange_folders(tmp_path, monkeypatch, error):
    _let_exchanges_fail(monkeypatch, error)
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "made") as out:
            (out / f"{text}.txt").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    (tmp_path / "staging").mkdir()
    publish_folder(tmp_path / "staging", tmp_path / "made")
    assert _contents(tmp_path / "made") == {}
    assert _contents(tmp_path / "staging") == {"new.txt": "new"}
    with pytest.raises(FileNotFoundError):
        partial_folders._take_place(tmp_path / "gone", tmp_path / "staging")
    assert _contents(tmp_path / "staging") == {"new.txt": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "staging"]


def _old(folder, pid):
    """Where a process without the exchange puts what stands at ``folder``."""
    return folder.with_name(f".{folder.name}.partial-old-0-{partial_folders._host()}-{pid}")


def _dead():
    process = multiprocessing.get_context("fork").Process()
    process.start()
    process.join()
    return process.pid


def test_what_a_killed_writer_had_moved_away_comes_back(tmp_path):
    made = tmp_path / "made"
    living, dead = _old(made, os.getppid()), _old(made, _dead())
    for old in (living, dead):
        old.mkdir()
        (old / "old.txt").write_text(old.name)
    with pytest.raises(RuntimeError), atomic_folder(made):
        raise RuntimeError("stop")
    assert _contents(made) == {"old.txt": dead.name}
    shutil.copytree(made, dead)
    finish_exchange(made)
    assert _contents(made) == {"old.txt": dead.name}
    assert sorted(tmp_path.iterdir()) == [living, made]


@pytest.mark.parametrize("name", ["run[1]", "ma*", "m?de"])
def test_a_name_that_is_a_pattern_means_one_folder(tmp_path, name):
    """Leftovers of its own go, those of another folder are not its."""
    others = _old(tmp_path / "made", _dead())
    others.mkdir()
    own = _old(tmp_path / name, _dead())
    own.mkdir()
    (own / "old.txt").write_text("own")
    finish_exchange(tmp_path / name)
    assert _contents(tmp_path / name) == {"old.txt": "own"}
    shutil.copytree(tmp_path / name, own)
    with atomic_folder(tmp_path / name):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([others, tmp_path / name])


@pytest.mark.parametrize("before", [1, 2], ids=["gone when it looks again", "taken meanwhile"])
def test_another_writer_between_the_steps_of_an_exchange(tmp_path, monkeypatch, before):
    _let_exchanges_fail(monkeypatch, errno.EINVAL)
    made, ours = tmp_path / "made", tmp_path / "ours"
    for folder in (made, ours):
        folder.mkdir()
        (folder / "of.txt").write_text(folder.name)
    rename, steps = Path.rename, []

    def after_another(path, target):
        steps.append(target)
        if len(steps) == before == 1:
            shutil.rmtree(made)
        elif len(steps) == before:
            shutil.copytree(ours, made)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", after_another)
    publish_folder(ours, made)
    assert _contents(made) == {"of.txt": "ours"}
    assert {path.name for path in tmp_path.iterdir()} <= {"made", "ours"}


def test_an_exchange_that_fails_for_another_reason(tmp_path, monkeypatch):
    _let_exchanges_fail(monkeypatch, errno.EACCES)
    with atomic_folder(tmp_path / "made") as out:
        (out / "old.txt").write_text("old")
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "made"):
        pass
    assert _contents(tmp_path / "made") == {"old.txt": "old"}


def test_of_two_writers_that_saw_nothing_there_the_second_takes_the_place(tmp_path, monkeypatch):
    rename = Path.rename

    def after_another(partial, folder):
        folder.mkdir()
        (folder / "first.txt").write_text("first")
        return rename(partial, folder)

    monkeypatch.setattr(Path, "rename", after_another)
    with atomic_folder(tmp_path / "made") as out:
        (out / "second.txt").write_text("second")
    assert _contents(tmp_path / "made") == {"second.txt": "second"}
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failed_writer_leaves_what_was_there(tmp_path, error):
    with atomic_folder(tmp_path / "made") as out:
        (out / "old.txt").write_text("old")
    with pytest.raises(type(error)), atomic_folder(tmp_path / "made") as out:
        (out / "new.txt").write_text("half")
        raise error
    assert _contents(tmp_path / "made") == {"old.txt": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_disk_that_fills_up(tmp_path):
    with atomic_folder(tmp_path / "made") as out:
        (out / "old.txt").write_text("old")
    with (
        pytest.raises(InputError, match=r"made: the disk filled up.*bytes free.*same command"),
        atomic_folder(tmp_path / "made"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert _contents(tmp_path / "made") == {"old.txt": "old"}


def test_a_disk_that_fills_up_under_an_array(tmp_path):
    with (
        pytest.raises(InputError, match=r"made: the disk filled up"),
        atomic_folder(tmp_path / "made"),
    ):
        np.zeros(100_000).tofile("/dev/full")


def test_too_little_space_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr("model.artifact.shutil.disk_usage", lambda path: usage)
    with (
        pytest.raises(InputError, match="made needs about 11 bytes and 10 are free"),
        atomic_folder(tmp_path / "made", needed_bytes=11),
    ):
        pytest.fail("nothing may be written")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match="/file: a file, where a folder is needed"):
            require_folder(tmp_path / place, writable=False)
    require_folder(tmp_path / "new" / "below", writable=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_that_must_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr("model.artifact.os.access", lambda path, mode: path != tmp_path)
    require_folder(tmp_path / "new", writable=False)
    with pytest.raises(InputError, match=f"{tmp_path}: not writable; change"):
        require_folder(tmp_path / "new", writable=True)


def _write_and_wait(folder):
    with atomic_folder(folder) as out:
        (out / "half.txt").write_text("half")
        time.sleep(60)


def test_a_killed_writer_is_cleaned_up_by_the_next(tmp_path):
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=_write_and_wait, args=(tmp_path / "made",))
    writer.start()
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob(".made*/half.txt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert not (tmp_path / "made").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_folder(tmp_path / "made") as out:
        (out / "whole.txt").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert _contents(tmp_path / "made") == {"whole.txt": "whole"}


def test_what_another_host_is_writing_stays_until_it_has_rested_for_a_day(tmp_path, monkeypatch):
    written = []
    for host in ("other", "this"):  # both give the process the same number
        monkeypatch.setattr(partial_folders, "_host", lambda host=host: host)
        written.append(partial_folders.partial_of(tmp_path / "made") / "half.txt")
    theirs, ours = written
    for half in (theirs, ours):
        half.parent.mkdir()
        half.write_text("half")
    for seconds, stays in [(0, True), (90_000, False)]:
        past = time.time() - seconds
        os.utime(theirs, (past, past))
        os.utime(theirs.parent, (0, 0))  # of a file that grows the folder knows nothing
        with atomic_folder(tmp_path / "made") as out:
            assert list(out.iterdir()) == []
        assert theirs.exists() == stays
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("machine", "held", "seconds", "stays"),
    [
        ("this", False, 100, False),
        ("this", True, 100, True),
        ("this", False, 0, True),  # perhaps it is about to take the lock
        ("another", False, 100, True),
        ("", False, 100, True),
    ],
)
def test_what_a_killed_container_left_goes_at_once(
    tmp_path, monkeypatch, machine, held, seconds, stays
):
    with monkeypatch.context() as container:
        container.setattr(partial_folders, "_host", lambda: "another")
        container.setattr(partial_folders, "_machine", lambda: machine)
        left = partial_folders.partial_of(tmp_path / "made")
    left.mkdir()
    past = time.time() - seconds
    os.utime(left, (past, past))
    monkeypatch.setattr(
        partial_folders, "_machine", lambda: machine if machine != "another" else "this"
    )
    with partial_folders.held(left) if held else nullcontext(), atomic_folder(tmp_path / "made"):
        assert left.exists() == stays


def test_a_writer_holds_its_folder(tmp_path):
    with atomic_folder(tmp_path / "made") as out:
        assert not partial_folders._is_unlocked(out)
    assert partial_folders._is_unlocked(tmp_path / "made")


def test_a_file_is_replaced_whole(tmp_path):
    atomic_write(tmp_path / "file", "old")
    atomic_write(tmp_path / "file", b"new")
    assert _contents(tmp_path) == {"file": "new"}


def test_a_file_that_cannot_be_written_leaves_what_was_there_alone(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    atomic_write(tmp_path / "file", "old")
    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(tmp_path / "file", "new")
    assert _contents(tmp_path) == {"file": "old"}


def test_equal_values_are_equal_bytes(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "ä": [2.5, None]})
    write_json(tmp_path / "b", {"ä": [2.5, None], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"x": 1, "ä": [2.5, None]}


def test_json_is_utf_8_whatever_the_locale_says(tmp_path):
    """A text file opened without an encoding would be the locale's, which Python can tell."""
    work = r"""
import pathlib, warnings
from model.artifact import read_json, write_json
warnings.simplefilter("error", EncodingWarning)
file = pathlib.Path("facts.json")
write_json(file, ["\u9999"])
assert file.read_bytes().decode() == '[\n  "\u9999"\n]\n'
assert read_json(file) == ["\u9999"]
"""
    command = [sys.executable, "-X", "warn_default_encoding", "-c", work]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=where, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(("kept", "reason"), [(None, "not found"), (3, "not valid JSON")])
def test_json_that_cannot_be_read(tmp_path, kept, reason):
    write_json(tmp_path / "facts.json", {"x": 1})
    damage(tmp_path / "facts.json", kept)
    with pytest.raises(InputError, match=rf"facts\.json: {reason}.*materiali[sz]e"):
        read_json(tmp_path / "facts.json")


@pytest.mark.parametrize("kept", [None, 0, 5, 100, -1])
def test_an_array_that_cannot_be_read(tmp_path, kept):
    np.save(tmp_path / "x.npy", np.arange(100))
    assert open_array(tmp_path / "x.npy").sum() == 4950
    damage(tmp_path / "x.npy", kept)
    reason = "not found" if kept is None else "truncated or not an array"
    with pytest.raises(InputError, match=rf"x\.npy: {reason}.*materiali[sz]e"):
        open_array(tmp_path / "x.npy")


def test_an_array_of_objects_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="truncated or not an array"):
        open_array(tmp_path / "x.npy")


def test_an_empty_array_is_an_array(tmp_path):
    np.save(tmp_path / "x.npy", np.empty((0, 3), np.float16))
    assert open_array(tmp_path / "x.npy").shape == (0, 3)


def test_of_a_table_the_first_value_alone_is_read(tmp_path):
    file = tmp_path / "a.parquet"
    table = pa.table({"item": np.arange(2000), "user": [f"u{row}" for row in range(2000)]})
    pq.write_table(table, file, row_group_size=1000, compression="zstd")
    second = pq.read_metadata(file).row_group(1).column(1)
    with file.open("r+b") as stream:  # a page that nobody can read
        stream.seek(second.dictionary_page_offset)
        stream.write(bytes(second.total_compressed_size))
    assert first_value(file, "user") == "u0"


@pytest.mark.parametrize("kept", [None, 0, 60, -2])
def test_a_damaged_table_is_named_where_its_first_value_is_asked_for(tmp_path, kept):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": ["u0"]}), file)
    damage(file, kept)
    with pytest.raises(InputError, match=r"a\.parquet: (not found|truncated).*materiali[sz]e"):
        first_value(file, "user")
