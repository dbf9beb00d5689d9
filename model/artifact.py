"""Atomic folders, which appear whole or not at all, and the free space they need.

Every artefact is a frozen dataclass with ``save(folder)`` and ``load(folder)``. ``save`` writes
through :func:`atomic_folder`: into a sibling with a temporary name, flushed to disk, then renamed.
A process that dies in between leaves only a sibling that the next writer removes.
"""

import glob
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import InputError, is_disk_full
from model.partial_folders import (
    finish_exchange,
    held,
    partial_of,
    publish_folder,
    remove_partial_folders,
)

NOT_FOUND = (
    "not found; `onepiece materialize` with the same --params and --data makes what is missing"
)


class Artifact(Protocol):
    """What passes from asset to asset: a value that lives in a folder."""

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


@contextmanager
def atomic_folder(folder: Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Yield an empty folder to write into; on success it replaces ``folder``.

    Args:
        folder: the artefact's place; what is there now stays until the swap.
        needed_bytes: estimated size, checked against the free space before anything is written.

    Raises:
        InputError: not enough space, with the needed and the free bytes.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_exchange(folder)
    remove_partial_folders(folder.parent, glob.escape(folder.name))
    require_free_space(folder.parent, needed_bytes, what=folder.name)
    partial = partial_of(folder)
    partial.mkdir()
    try:
        with held(partial):
            yield partial
            publish_folder(partial, folder)
    except OSError as error:
        if is_disk_full(error):
            raise disk_filled_up(str(folder), folder.parent) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace one file atomically: temporary name, flush, rename; text as UTF-8."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # no later writer would remove it
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON the same way every time (sorted keys), so that equal values are equal bytes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    Path(path).write_text(f"{text}\n", encoding="utf-8")


def read_json(path: Path, *, remedy: str = "materialise it again") -> Any:
    """Read JSON.

    Args:
        path: of the file.
        remedy: what helps when it is damaged.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
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
    """Open a parquet file, memory-mapped, and return a function that reads it.

    Raises:
        InputError: missing or damaged, with the file's name; opening checks the footer only,
            reading the rest.
    """
    with _named_damage(path):
        file = pq.ParquetFile(path, memory_map=True)

    def read() -> pa.Table:
        with _named_damage(path):
            return file.read()

    return read


def first_value(path: Path, column: str) -> Any:
    """The first value of a parquet file's column; only its first rows are read.

    Raises:
        InputError: missing or damaged, with the file's name.
    """
    with _named_damage(path), pq.ParquetFile(path, memory_map=True) as file:
        return next(file.iter_batches(1, columns=[column]))[column][0].as_py()


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Report whatever is wrong with a parquet file as an ``InputError`` with its name."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: {NOT_FOUND}") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated ({reason}); materialise it again") from None


def named_version(home: Path, pointer: str) -> Path:
    """The folder of the version that a pointer file beside an artefact's versions names.

    Args:
        home: holds one folder per version.
        pointer: name of the pointer file.

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
    """Refuse, before writing, what the disk cannot hold.

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
    """Reserve disk space for a file that will be written through a memory map.

    Writing to a mapped page on a full disk raises no error: a signal kills the process.

    Args:
        file: its descriptor.
        size: in bytes, above 0.

    Raises:
        OSError: the disk or the user's quota is full.
    """
    os.posix_fallocate(file, 0, size)


def disk_filled_up(what: str, folder: Path) -> InputError:
    """The error when space ran out although it had been checked, as others write too.

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
    """Refuse a path that cannot be a folder or, if asked, cannot be written to.

    Raises:
        InputError: the path or a parent is a file, or this process may not write there.
    """
    folder = Path(folder).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: a file, where a folder is needed; choose another folder")
    if writable and not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{nearest}: not writable; change that or choose another folder")
