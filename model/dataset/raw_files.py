"""Find and open raw files, with a clear message where that is not possible."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError

_PACKINGS = (".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz")
_ANY = {"<name>": ".+", "<width>": r"\d+"}  # pattern of each placeholder


def visible_files(folder: Path, ending: str = "") -> list[Path]:
    """Entries of a folder, sorted by name, without names that begin with a dot.

    macOS writes a file ``._name`` beside every file that it copies to a foreign disk.

    Raises:
        InputError: no permission to read the folder.
    """
    with readable(folder):
        if not folder.is_dir():
            return []
        return sorted(
            path
            for path in folder.iterdir()
            if path.name.endswith(ending) and not path.name.startswith(".")
        )


def require_utf8(path: Path) -> None:
    """Refuse a name that is not UTF-8.

    Raises:
        InputError: with the name.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: the name is not UTF-8; rename it") from None


def refuse_loops(root: Path, parent: Path, names: Iterable[str]) -> None:
    """Refuse links to folders above them, which a walk that follows links would never leave.

    Args:
        root: where the walk began.
        parent: a folder that it has reached.
        names: of the folders in it.

    Raises:
        InputError: one of them is such a link.
    """
    for link in (parent / name for name in names if (parent / name).is_symlink()):
        above = (one for one in (parent, *parent.parents) if one.is_relative_to(root))
        if any(map(link.samefile, above)):
            raise InputError(f"{link}: a link to a folder that it lies in; remove the link")


def is_there(path: Path) -> bool:
    """Whether an optional file is there; a lookalike is refused rather than ignored.

    Raises:
        InputError: there is one that is compressed, or whose name differs in case.
    """
    if path.is_file():
        return True
    refuse_lookalikes(path.parent, path.name)
    return False


def require_file(path: Path) -> None:
    """Refuse a data set that lacks one of its files.

    Raises:
        InputError: it is missing or compressed, or its name differs in case.
    """
    if not is_there(path):
        raise InputError(f"{path}: not found; it belongs to the data set, copy it there")


def files_named(folder: Path, wanted: str) -> list[Path]:
    """Files of a folder with a name such as ``<name>.item``; empty where there are none.

    Raises:
        InputError: there is none, but one that is compressed or whose name differs in case.
    """
    found = visible_files(folder, wanted.removeprefix("<name>"))
    if not found:
        refuse_lookalikes(folder, wanted)
    return found


def refuse_lookalikes(folder: Path, *wanted: str) -> None:
    """Refuse entries that were probably meant to be a file or folder that is missing.

    Args:
        folder: where it would be.
        wanted: expected names, with ``<name>`` or ``<width>`` for the part that varies.

    Raises:
        InputError: an entry has such a name in another case or with a compression suffix, or is a
            folder in place of a file.
    """
    for name in wanted:
        pattern = re.escape(name)
        for placeholder, meaning in _ANY.items():
            pattern = pattern.replace(placeholder, meaning)
        for path in visible_files(folder):
            plain = _without_packings(path.name)
            if not re.fullmatch(pattern, plain, re.IGNORECASE):
                continue
            if is_packed(path):
                raise InputError(f"{path}: packed, and {name} is read; unpack it")
            if re.fullmatch(pattern, plain):
                other = "file" if path.is_dir() else "folder"
                raise InputError(f"{path}: must be a {other}; put the data set's own there")
            raise InputError(f"{path}: the name that is read is {name}; rename it")


def is_packed(path: Path) -> bool:
    """Whether a name ends in the suffix of a compressed file or an archive."""
    return path.suffix.lower() in _PACKINGS


def _without_packings(name: str) -> str:
    while is_packed(Path(name)):
        name = Path(name).stem
    return name


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a permission error into an :class:`InputError`.

    Args:
        path: of what is opened inside.

    Raises:
        InputError: no permission.
    """
    try:
        yield
    except PermissionError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file or folder that cannot be read."""
    return InputError(
        f"{path}: cannot be read ({error.strerror or 'permission denied'}); give yourself "
        "permission to read it"
    )
