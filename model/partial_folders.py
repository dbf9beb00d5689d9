"""Folders while they are written, and the step in which they take their place.

A writer works in a sibling whose name says who writes; what dead writers left is told from what
living ones work on by that name, by a lock, and by age.
"""

import ctypes
import errno
import fcntl
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
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # NFS and most others over a net
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PARTIAL = ".partial-"
_OLD = f"{_PARTIAL}old-"
_ABANDONED_SECONDS = 86_400  # another host's writer that has written nothing for so long is dead
_UNLOCKED_SECONDS = 60  # another container's writer has its lock by then


def remove_partial_folders(folder: Path) -> None:
    """Remove what dead writers of ``folder`` left beside it; a living writer's is kept.

    Its name may be a pattern. A writer in another container of this machine is known by its lock.
    Whether one on another host lives cannot be seen; it counts as dead once it has written nothing
    for a day.
    """
    for partial in folder.parent.glob(f".{folder.name}{_PARTIAL}*"):
        if not _may_be_written(partial):
            shutil.rmtree(partial, ignore_errors=True)


def finish_exchange(folder: Path) -> None:
    """Tidy up after a writer that died between the two steps of :func:`_exchange_by_renames`.

    What it had moved away comes back where nothing stands in its place, and else is removed.
    """
    for old in folder.parent.glob(f".{folder.name}{_OLD}*"):
        if _may_be_written(old):
            continue
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


@contextmanager
def scratch_folder(home: Path, name: str) -> Iterator[Path]:
    """Give an empty folder that is gone afterwards, as those of dead processes are.

    Args:
        home: where it is made.
        name: tells it from other scratch folders, and from artefacts, at the same place.
    """
    remove_partial_folders(home / name)
    folder = partial_of(home / name)
    folder.mkdir(mode=0o700)
    try:
        with held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def partial_of(path: Path) -> Path:
    """Where this process writes what shall stand at ``path``."""
    return path.with_name(f".{path.name}{_PARTIAL}{_writer()}")


def _writer() -> str:
    """By what others tell whether this process still writes: its machine, its host, its number."""
    return f"{_machine()}-{_host()}-{os.getpid()}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder while it is written, for those who cannot see this process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system may know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@cache
def _machine() -> str:
    """Hex digits that all containers of a running machine share; none where they are hidden."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""


@cache
def _host() -> str:
    """Hex digits that are the same wherever a process id means the same process.

    Also after the machine was started again: what a power cut left is nobody's.
    """
    facts = [platform.node()]
    with suppress(OSError):  # a sandbox may hide them
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
        facts.append(Path("/etc/machine-id").read_text())
    return hashlib.blake2b(" ".join(facts).encode(), digest_size=6).hexdigest()


def _may_be_written(partial: Path) -> bool:
    """Whether the writer that a partial folder is named by may still be at it."""
    *_, machine, host, pid = f"-{partial.name}".split("-")
    if host == _host() and pid.isdigit():
        return int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()
    try:
        newest = max(path.lstat().st_mtime for path in (partial, *partial.rglob("*")))
    except OSError:  # something has vanished while we looked
        return True
    age = time.time() - newest
    if age < _UNLOCKED_SECONDS:  # before its lock is tried, which it may be about to take
        return True
    locks_tell = machine != "" and machine == _machine() and _is_unlocked(partial)
    return not locks_tell and age < _ABANDONED_SECONDS


def _is_unlocked(folder: Path) -> bool:
    """Whether locks work and nobody holds this one; ask it only of writers on this machine.

    Some mounts over a net keep the locks of each machine to itself.
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
    """Let a finished folder take the place of ``folder`` in one step; both on one file system.

    What stood there before is left at ``finished`` where there was something. Where the file system
    cannot exchange folders, ``folder`` is away for a moment between two steps.
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
    """Rename, or exchange in one system call where something stands there already."""
    if not folder.exists():
        try:
            partial.rename(folder)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return  # and otherwise another process has just put its own there
    libc = ctypes.CDLL(None, use_errno=True)
    old, new = os.fsencode(partial), os.fsencode(folder)
    if libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_EXCHANGE) != 0:
        error = ctypes.get_errno()
        if error not in _CANNOT_EXCHANGE:
            raise OSError(error, os.strerror(error), str(folder))
        _exchange_by_renames(partial, folder)


def _exchange_by_renames(partial: Path, folder: Path) -> None:
    """The same in steps, begun anew where another writer came between them."""
    aside = folder.with_name(f".{folder.name}{_OLD}{_writer()}")
    with suppress(PermissionError, FileNotFoundError):
        os.utime(folder)  # so that on another host too it counts as in use
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
