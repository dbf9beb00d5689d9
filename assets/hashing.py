"""Content hashes equal to DVC's, so that Dagster's data versions are the hashes in ``dvc.lock``.

A file's hash is its md5. A folder's is the md5 of the sorted JSON list of its files' md5s and
relative paths, with the suffix ``.dir``. What ``.dvcignore`` leaves out is left out here too.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model.artifact import atomic_write
from model.dataset.raw_files import refuse_loops, require_utf8
from model.errors import InputError
from model.progress import track

_IGNORED_NAMES = {"__pycache__", ".git", ".hg", ".dvc"}  # the last three DVC ignores by itself
_IGNORED_SUFFIX = ".pyc"
_IGNORED_PART = ".partial-"


class HashCache:
    """Remembers md5s by path, size, inode and modification time, as DVC does.

    With ``HashCache(None)`` nothing is remembered: every byte is read.

    Args:
        file: where md5s are kept.
        remember: whether to add md5s of new files to it; else it is only read.
    """

    def __init__(self, file: Path | None, *, remember: bool = True) -> None:
        self._file, self._remembers = file, remember
        self._known: dict[str, list] = {}
        if file is not None and file.exists():
            try:
                found = json.loads(file.read_text())
            except ValueError:
                found = None
            self._known = found if isinstance(found, dict) else {}  # damaged: it is only a cache

    def hash_file(self, path: Path) -> str:
        """The md5 of a file's bytes.

        Raises:
            InputError: the file is missing, cannot be read, or is not a regular file (a pipe might
                never end).
        """
        if not path.is_file():
            raise InputError(f"{path}: a link to nothing, or not a file; put the file there")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path}: cannot be read; make it readable")
        facts = path.stat()
        seen = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
        known = self._known.get(str(path.absolute()))
        if self._file is not None and known is not None and known[:3] == seen:
            return known[3]
        digest = hash_file(path)
        self._known[str(path.absolute())] = [*seen, digest]
        return digest

    def hash_files(self, folder: Path, *, hidden: bool = True) -> dict[str, str]:
        """The md5 of each file of a folder, several at a time, by relative posix path.

        Args:
            folder: to walk.
            hidden: whether to include files whose name, or a parent folder's, begins with a dot.

        Raises:
            InputError: one cannot be read, or has a name that is not UTF-8, which is checked before
                any is read.
        """
        paths = [name for name in list_files(folder) if hidden or not is_hidden(name)]
        for name in paths:
            require_utf8(folder / name)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(lambda path: self.hash_file(folder / path), paths)
            tracked = track(digests, total=len(paths), what=f"hashing {folder.name}", unit="file")
            found = dict(zip(paths, tracked, strict=True))
        self._remember()
        return found

    def hash_path(self, path: Path) -> str:
        """The hash of a file or folder as ``dvc.lock`` records it."""
        return hash_listing(self.hash_files(path)) if path.is_dir() else self.hash_file(path)

    def hash_visible(self, source: Path) -> str:
        """The hash of raw files or code, without the hidden files, which nobody reads.

        ``.dvcignore`` makes DVC skip them below ``data/raw`` as well. Elsewhere DVC counts them:
        its stage then runs, finds nothing to do, and later stages stay up to date.
        """
        if not source.is_dir():
            return self.hash_file(source)
        return hash_listing(self.hash_files(source, hidden=False))

    def _remember(self) -> None:
        if self._file is None or not self._remembers:
            return
        self._known = {path: facts for path, facts in self._known.items() if Path(path).exists()}
        atomic_write(self._file, json.dumps(self._known, sort_keys=True))


def hash_file(path: Path) -> str:
    """The md5 of a file's bytes, read now."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def hash_bytes(content: bytes) -> str:
    """The md5 of some bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def hash_listing(files: Mapping[str, str]) -> str:
    """The folder hash that DVC gives to these files.

    Args:
        files: md5 by relative posix path.
    """
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return hash_bytes(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def list_files(folder: Path) -> list[str]:
    """Relative posix paths of all files in a folder that DVC would see, sorted.

    Symbolic links to folders are followed, as raw files are often kept in a cache of downloads; DVC
    does not follow them, see :func:`linked_folder`.

    Raises:
        InputError: a folder cannot be read, or holds a link to one that it lies in.
    """
    found = []
    for parent, names, files in os.walk(folder, followlinks=True, onerror=_refuse):
        names[:] = [name for name in names if _counts(name)]
        refuse_loops(folder, Path(parent), names)
        base = Path(parent).relative_to(folder)
        found.extend((base / name).as_posix() for name in files if _counts(name))
    return sorted(found)


def linked_folder(folder: Path) -> Path | None:
    """The first symbolic link to a folder within a folder, if any."""
    for parent, names, _ in os.walk(folder, onerror=_refuse):
        names[:] = [name for name in names if _counts(name)]
        linked = [Path(parent, name) for name in names if Path(parent, name).is_symlink()]
        if linked:
            return min(linked)
    return None


def _counts(name: str) -> bool:
    ignored = name in _IGNORED_NAMES or name.endswith(_IGNORED_SUFFIX) or _IGNORED_PART in name
    return not ignored


def is_hidden(path: str) -> bool:
    """Whether a file's name, or a folder's above it in its relative path, begins with a dot."""
    return path.startswith(".") or "/." in path


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: {error.strerror}; make it readable") from error
