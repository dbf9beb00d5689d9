"""Folders of shards: which of their files hold data, in which form, and in what order."""

import re
from codecs import BOM_UTF8
from pathlib import Path

from model.dataset.raw_files import is_packed, readable, refuse_lookalikes
from model.errors import InputError

PARQUET, JSON = "parquet", "JSON"
_PARQUET_SUFFIX, _JSON_SUFFIXES = ".parquet", (".json", ".jsonl")
_HEAD = 64  # bytes: a byte order mark, a few blanks and what the file begins with


def shard_files(folder: Path) -> tuple[str, list[Path]]:
    """The form of a folder's files, and the files in natural order (``part-2`` before ``part-10``).

    Names that begin with a dot or, like Spark's ``_SUCCESS``, with an underscore are skipped.

    Raises:
        InputError: missing or empty folder, or one that holds folders, compressed or foreign files,
            or files of both forms.
    """
    forms = {path: _form(path) for path in _files(folder)}
    first = {form: path.name for path, form in reversed(forms.items()) if form is not None}
    if len(first) > 1:
        raise InputError(
            f"{folder}: {first[PARQUET]} is parquet and {first[JSON]} is JSON; keep the files of "
            "one form there"
        )
    return next(iter(first), PARQUET), list(forms)


def parquet_shards(folder: Path) -> list[Path]:
    """The files of a folder that must hold parquet files alone, in natural order.

    Raises:
        InputError: as :func:`shard_files`, or one of them is JSON.
    """
    forms = {path: _form(path) for path in _files(folder)}
    if JSON in forms.values():
        path = next(path for path, form in forms.items() if form == JSON)
        raise InputError(f"{path}: JSON where parquet files are read; move it elsewhere")
    return list(forms)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        refuse_lookalikes(folder.parent, folder.name)
        raise InputError(f"{folder}: no such folder; it belongs to the data set, copy it there")
    with readable(folder):
        files = [path for path in folder.iterdir() if path.name[0] not in "._"]
    if not files:
        raise InputError(f"{folder}: the folder is empty; copy its files there")
    for path in files:
        if path.is_dir():
            raise InputError(
                f"{path}: a folder where only files belong; move its files up to {folder.name} or "
                "remove it"
            )
    return sorted(files, key=_natural)


def _form(path: Path) -> str | None:
    """The form of a file, by its suffix or else its first bytes; None where it is empty."""
    suffix = path.suffix.lower()
    if suffix == _PARQUET_SUFFIX:
        return PARQUET
    with readable(path), path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(BOM_UTF8).lstrip()
    if head.startswith(b"PAR1"):
        return PARQUET
    if suffix in _JSON_SUFFIXES or head.startswith(b"{"):
        return JSON
    if is_packed(path):
        raise InputError(f"{path}: packed; unpack it")
    if head or suffix:
        raise InputError(f"{path}: not a data file; move it elsewhere")
    return None


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(piece), "") if piece.isdigit() else (-1, piece)
        for piece in re.split(r"(\d+)", path.name)
    ]
