"""Finding and opening the files that others wrote, with one sentence where that is not allowed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError


def visible_files(folder: Path, ending: str = "") -> list[Path]:
    """What lies in a folder, by name, without names that begin with a dot.

    macOS writes a file ``._name`` beside every file that it copies to a foreign disk.

    Raises:
        InputError: the folder must not be read.
    """
    with readable(folder):
        if not folder.is_dir():
            return []
        return sorted(
            path
            for path in folder.iterdir()
            if path.name.endswith(ending) and not path.name.startswith(".")
        )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a lack of permission into a refusal.

    Args:
        path: of what is opened inside.

    Raises:
        InputError: the system forbids it.
    """
    try:
        yield
    except PermissionError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """The refusal of a file or folder that cannot be read."""
    return InputError(
        f"{path}: cannot be read ({error.strerror or 'permission denied'}); give yourself the "
        "permission"
    )
