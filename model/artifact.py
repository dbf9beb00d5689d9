"""Folders that appear whole or not at all, and the free space they need.

Every artefact is a frozen dataclass with ``save(folder)`` and ``load(folder)``. ``save`` writes
through :func:`atomic_folder`: into a sibling with a temporary name, flushed to disk, then renamed.
A process that dies in between leaves only a sibling that the next writer removes.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import InputError, is_disk_full

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # NFS and most others over a net
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PARTIAL = ".partial-"
_OLD = f"{_PARTIAL}old-"
_ABANDONED_SECONDS = 86_400  # another host's writer that has written nothing for so long is dead
_UNLOCKED_SECONDS = 60  # another container's, without its lock; it may be about to take it
NOT_FOUND = (
    "not found; `onepiece materialize` with the same --params and --data makes what is missing"
)


@runtime_checkable
class Artifact(Protocol):
    """What passes from asset to asset: a value that lives in a folder."""

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


@contextmanager
def atomic_folder(folder: Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Give an empty folder to write into; on success it takes the place of ``folder``.

    Args:
        folder: where the artefact shall stand; what stands there now stays until the swap.
        needed_bytes: estimated size, checked against the free space before anything is written.

    Raises:
        InputError: not enough space, with the needed and the free bytes.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_exchange(folder)
    remove_partial_folders(folder)
    require_free_space(folder.parent, needed_bytes, what=folder.name)
    partial = _partial(folder)
    partial.mkdir()
    try:
        with _held(partial):
            yield partial
            publish_folder(partial, folder)
    except OSError as error:
        if is_disk_full(error):
            raise disk_filled_up(str(folder), folder.parent) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace one file whole: temporary name, flush, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    data = content.encode() if isinstance(content, str) else content
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON the same way every time (sorted keys), so that equal values are equal bytes."""
    Path(path).write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path, *, remedy: str = "materialise it again") -> Any:
    """Read JSON.

    Args:
        path: of the file.
        remedy: what helps when it is damaged.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: {NOT_FOUND}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); {remedy}") from None


def open_array(path: Path) -> np.ndarray:
    """Memory-map a ``.npy`` file.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: {NOT_FOUND}") from None
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path}: truncated or not an array ({error}); materialise it again"
        ) from None


def open_table(path: Path) -> pa.Table:
    """Read a parquet file, memory-mapped.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    return table_reader(path)()


def table_reader(path: Path) -> Callable[[], pa.Table]:
    """Open a parquet file, memory-mapped; what is returned reads it.

    Raises:
        InputError: missing or damaged, with the file's name; what lies before its footer is only
            seen by reading it.
    """
    with _named_damage(path):
        file = pq.ParquetFile(path, memory_map=True)

    def read() -> pa.Table:
        with _named_damage(path):
            return file.read()

    return read


def first_value(path: Path, column: str) -> Any:
    """One value of a parquet file, of whose rows the first alone are read.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    with _named_damage(path), pq.ParquetFile(path, memory_map=True) as file:
        return next(file.iter_batches(1, columns=[column]))[column][0].as_py()


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Whatever is wrong with a parquet file, with its name."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: {NOT_FOUND}") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated ({reason}); materialise it again") from None


def named_version(home: Path, pointer: str) -> Path:
    """The version of an artefact that a file beside its versions names.

    Args:
        home: holds one folder per version.
        pointer: name of the file.

    Raises:
        InputError: there is no such file, or it holds no name.
    """
    file = home / pointer
    if not file.exists():
        raise InputError(f"{file}: not found; materialise {home.name}")
    name = file.read_bytes().decode(errors="replace").strip() if file.is_file() else ""
    if not re.fullmatch(r"\w+", name):
        raise InputError(
            f"{file}: not the name of a version; write into it which folder beside it is "
            f"meant, or remove it and materialise {home.name}"
        )
    return home / name


def require_free_space(folder: Path, needed_bytes: int, *, what: str) -> None:
    """Refuse before writing when the disk cannot hold it.

    Raises:
        InputError: with the needed and the free bytes.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise InputError(
            f"{folder}: {what} needs about {needed_bytes:,} bytes and {free:,} are free; "
            "free some space or choose another --data folder"
        )


def allocate(file: int, size: int) -> None:
    """Take the room for a file that will be written through a memory map.

    Where none is left, a page of a map cannot be told so: the process would die by a signal.

    Args:
        file: its descriptor.
        size: in bytes, above 0.

    Raises:
        OSError: the disk, or what the user may have of it, is full.
    """
    os.posix_fallocate(file, 0, size)


def disk_filled_up(what: str, folder: Path) -> InputError:
    """The refusal when space ran out although it had been checked: others write as well.

    Args:
        what: was being written.
        folder: on the disk that is full.
    """
    free = shutil.disk_usage(folder).free
    return InputError(
        f"{what}: the disk filled up while writing ({free:,} bytes free); free some space and run "
        "the same command again; the previous version is untouched"
    )


def require_folder(folder: Path, *, writable: bool) -> None:
    """Refuse a place that cannot be a folder, and where asked one that cannot be written.

    Raises:
        InputError: a file stands there or above, or nobody may write there.
    """
    folder = Path(folder).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: a file, where a folder is needed; choose another folder")
    if writable and not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{nearest}: must not be written to; change that or choose another folder")


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
    folder = _partial(home / name)
    folder.mkdir(mode=0o700)
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _partial(path: Path) -> Path:
    """Where this process writes what shall stand at ``path``."""
    return path.with_name(f".{path.name}{_PARTIAL}{_writer()}")


def _writer() -> str:
    """By what others tell whether this process still writes: its machine, its host, its number."""
    return f"{_machine()}-{_host()}-{os.getpid()}"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
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
    locks_tell = machine != "" and machine == _machine() and _is_unlocked(partial)
    return time.time() - newest < (_UNLOCKED_SECONDS if locks_tell else _ABANDONED_SECONDS)


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
    with suppress(PermissionError):
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
