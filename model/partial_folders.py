"""Partial folders, in which artefacts are written, and the atomic swap that publishes them.

A writer works in a sibling folder that is named after the writer. Whether that writer still lives
is decided by the name, by a lock, and by age.
"""

import ctypes
import errno
import fcntl
import glob
import hashlib
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # NFS, most network mounts
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PARTIAL = ".partial-"
_OLD = f"{_PARTIAL}old-"
_ABANDONED_SECONDS = 86_400  # another host's writer that has written nothing for so long is dead
_UNLOCKED_SECONDS = 60  # another container's writer has its lock by then


def remove_partial_folders(home: Path, pattern: str) -> None:
    """Remove what dead writers of folders left beside them; a living writer's folder is kept.

    A writer in another container of this machine is known by its lock. One on another host cannot
    be checked: it counts as dead once it has written nothing for a day.

    Args:
        home: where the folders are.
        pattern: glob pattern of their names; of a single one, as ``glob.escape`` gives it.
    """
    for partial in home.glob(f".{pattern}{_PARTIAL}*"):
        if not _may_be_written(partial):
            shutil.rmtree(partial, ignore_errors=True)


def finish_exchange(folder: Path) -> None:
    """Clean up after a writer that died between the two steps of :func:`_exchange_by_renames`.

    The folder that it had moved aside is moved back if its place is empty, and removed otherwise.
    """
    for old in folder.parent.glob(f".{glob.escape(folder.name)}{_OLD}*"):
        if _may_be_written(old):
            continue
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


@contextmanager
def scratch_folder(home: Path, name: str) -> Iterator[Path]:
    """Give an empty folder that is removed afterwards, as are those that dead processes left.

    Args:
        home: where it is made.
        name: unlike that of any other scratch folder or artefact there.
    """
    remove_partial_folders(home, glob.escape(name))
    folder = partial_of(home / name)
    folder.mkdir(mode=0o700)
    try:
        with held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def partial_of(path: Path) -> Path:
    """The partial folder in which this process writes what will be published as ``path``."""
    return path.with_name(f".{path.name}{_PARTIAL}{_writer()}")


def _writer() -> str:
    """What identifies this process as a writer: machine, host and process id."""
    return f"{_machine()}-{_host()}-{os.getpid()}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder while it is written, for processes that cannot look up this one's id."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system may not support locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@cache
def _machine() -> str:
    """The boot id, which all containers of a machine share; empty where it is hidden."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""


@cache
def _host() -> str:
    """A hash that is the same wherever a process id means the same process.

    It survives a reboot, so that what a power cut left is recognised as abandoned.
    """
    facts = [platform.node()]
    with suppress(OSError):  # a sandbox may hide them
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
        facts.append(Path("/etc/machine-id").read_text())
    return hashlib.blake2b(" ".join(facts).encode(), digest_size=6).hexdigest()


def _may_be_written(partial: Path) -> bool:
    """Whether the writer that a partial folder is named after may still be alive."""
    *_, machine, host, pid = f"-{partial.name}".split("-")
    if host == _host() and pid.isdigit():
        return int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()
    try:
        newest = max(path.lstat().st_mtime for path in (partial, *partial.rglob("*")))
    except OSError:  # something has vanished while we looked
        return True
    age = time.time() - newest
    if age < _UNLOCKED_SECONDS:  # do not try its lock, which it may be about to take
        return True
    locks_tell = machine != "" and machine == _machine() and _is_unlocked(partial)
    return not locks_tell and age < _ABANDONED_SECONDS


def _is_unlocked(folder: Path) -> bool:
    """Whether locks work and nobody holds this one; valid only for writers on this machine.

    Some network mounts do not share locks between machines.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def publish_folder(finished: Path, folder: Path) -> None:
    """Put a finished folder in place of ``folder`` atomically; both on one file system.

    The previous folder, if any, is left at ``finished``. Where the file system cannot exchange
    folders, ``folder`` is missing for a moment between two renames.
    """
    _flush(finished)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _take_place(finished, folder)


def _flush(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take_place(partial: Path, folder: Path) -> None:
    """Rename, or exchange in one system call if the target exists."""
    if not folder.exists():
        try:
            partial.rename(folder)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return  # otherwise another process has just put its own there
    libc = ctypes.CDLL(None, use_errno=True)
    old, new = os.fsencode(partial), os.fsencode(folder)
    if libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_EXCHANGE) != 0:
        error = ctypes.get_errno()
        if error not in _CANNOT_EXCHANGE:
            raise OSError(error, os.strerror(error), str(folder))
        _exchange_by_renames(partial, folder)


def _exchange_by_renames(partial: Path, folder: Path) -> None:
    """The same by two renames, retried if another writer came in between."""
    aside = folder.with_name(f".{folder.name}{_OLD}{_writer()}")
    with suppress(PermissionError, FileNotFoundError):
        os.utime(folder)  # so that it counts as in use on other hosts too
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return _take_place(partial, folder)
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno in _TAKEN:
            shutil.rmtree(aside)
            return _take_place(partial, folder)
        aside.rename(folder)
        raise
    aside.rename(partial)
