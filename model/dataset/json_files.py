"""JSON as TencentGR's competition files hold it: lines, one huge object, loosely typed features."""

import json
import reprlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from model.dataset.histories import refuse_first
from model.dataset.raw_files import readable, require_file
from model.dataset.tencent_store import FeatureRows
from model.errors import InputError
from model.progress import track

_BYTES_PER_CHUNK = 1 << 24
_BEYOND = 2**63  # no integer column holds it


@dataclass(frozen=True)
class JsonLines:
    """Some parsed lines: their values, numbers (from 1) and byte offsets."""

    path: Path
    values: list[Any]
    numbers: np.ndarray
    starts: np.ndarray

    def row(self, index: int) -> str:
        """Name the file and a line, for messages."""
        return f"{self.path} line {self.numbers[index]}"

    def of_rows(self, rows: np.ndarray) -> "JsonLines":
        """The same file with other rows, for messages only."""
        return JsonLines(self.path, [], self.numbers[rows], self.starts[rows])


@dataclass(frozen=True)
class JsonObject:
    """Some keys of one object."""

    path: Path
    keys: list[str]

    def row(self, index: int) -> str:
        """Name the file and a key, for messages."""
        return f"{self.path} key {self.keys[index]!r}"


def read_lines(path: Path, lines_per_part: int) -> Iterator[JsonLines]:
    """Parse a file of JSON lines, some at a time; blank lines are skipped.

    Raises:
        InputError: missing or empty file, or a line that is not JSON.
    """
    require_file(path)
    values: list[Any] = []
    numbers: list[int] = []
    starts: list[int] = []
    empty, start = True, 0
    with readable(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(BOM_UTF8) if number == 1 else line
            if text and not text.isspace():
                values.append(_parse(text, f"{path} line {number}"))
                numbers.append(number)
                starts.append(start)
            start += len(line)
            if len(values) == lines_per_part:
                yield JsonLines(path, values, np.array(numbers), np.array(starts))
                values, numbers, starts, empty = [], [], [], False
    if values:
        yield JsonLines(path, values, np.array(numbers), np.array(starts))
    elif empty:
        raise InputError(f"{path}: the file is empty; get it again")


def _parse(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{where}: truncated or not valid JSON ({error}); get the file again"
        ) from None


def read_json_features(path: Path) -> Iterator[FeatureRows]:
    """Read ``{re-id: {feature: value}}`` in pieces, without holding the whole object.

    Raises:
        InputError: missing or damaged file, a key twice, a value that is no feature.
    """
    require_file(path)
    pieces = track(_pieces(path), total=None, what=f"reading {path.name}", unit="chunk")
    for text in pieces:
        rows = _parse(text, str(path))
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise _no_objects(path)
        if not rows:
            continue
        if text.count(b"{") != len(rows) + 1:  # a parser silently keeps the last of equal keys
            _refuse_repeated(path, text)
        source = JsonObject(path, list(rows))
        yield FeatureRows(
            source=source,
            re_ids=_re_ids(source),
            columns=feature_columns(list(rows.values()), source.row),
        )


def _no_objects(path: Path) -> InputError:
    return InputError(f"{path}: must be an object of objects by re-id; get it again")


def _pieces(path: Path) -> Iterator[bytes]:
    """Cut ``{"1": {...}, "2": {...}}`` into smaller objects of the same form."""
    with readable(path), path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        rest = b""
        while chunk := file.read(_BYTES_PER_CHUNK):
            if not rest and chunk.lstrip().startswith(b"["):  # cut up, it would look truncated
                raise _no_objects(path)
            rest += chunk
            end = rest.rfind(b"},")
            if end >= 0:
                yield rest[: end + 1] + b"}"
                rest = b"{" + rest[end + 2 :]
        yield rest


def _refuse_repeated(path: Path, text: bytes) -> None:
    def note(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        twice = next((key for key, times in Counter(keys).items() if times > 1), None)
        if twice is not None:
            raise InputError(f"{path}: key {twice!r} occurs twice; keep one")

    json.loads(text, object_pairs_hook=note)


def _re_ids(source: JsonObject) -> np.ndarray:
    try:
        return pa.array(source.keys, pa.string()).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(f"{source.path}: a key is not a re-id ({error}); get it again") from None


def feature_columns(
    rows: Sequence[dict[str, Any]], where: Callable[[int], str]
) -> dict[str, pa.Array]:
    """One column per feature: codes or lists of codes.

    Raises:
        InputError: a value that is neither, or both in one column, named by ``where``.
    """
    names = sorted(set().union(*rows)) if rows else []
    columns = {name: _column([row.get(name) for row in rows], name, where) for name in names}
    return {name: column for name, column in columns.items() if column.null_count < len(column)}


def _column(values: list[Any], name: str, where: Callable[[int], str]) -> pa.Array:
    if len({type(value) is list for value in values if value is not None}) > 1:
        _refuse_two_forms(values, name, where)
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        _refuse_no_code(values, name, where)
        raise InputError(
            f"{where(0)}: feature {name} must be a code or a list of codes here and below "
            f"({error}); get it again, or take the feature out"
        ) from None
    if not _is_number(column.type.value_type if pa.types.is_list(column.type) else column.type):
        _refuse_no_code(values, name, where)
    return column


def _refuse_two_forms(values: list[Any], name: str, where: Callable[[int], str]) -> None:
    is_list = type(next(value for value in values if value is not None)) is list
    refuse_first(
        np.array([value is not None and (type(value) is list) != is_list for value in values]),
        two_forms(name, where),
    )


def two_forms(name: str, where: Callable[[int], str]) -> Callable[[int], str]:
    """The message, by row, on a feature that is a list in some places and a code in others."""
    return lambda row: (
        f"{where(row)}: feature {name} is a list in some places and a single code in others; "
        "write it in one form"
    )


def _refuse_no_code(values: list[Any], name: str, where: Callable[[int], str]) -> None:
    def wrong(value: Any) -> list[Any]:
        codes = value if type(value) is list else [value]
        return [code for code in codes if code is not None and not is_code(code)]

    def is_code(code: Any) -> bool:
        return type(code) is float or (type(code) is int and code < _BEYOND)

    refuse_first(
        np.array([bool(wrong(value)) for value in values]),
        lambda row: (
            f"{where(row)}: feature {name} must be a code or a list of codes and holds "
            f"{reprlib.repr(wrong(values[row])[0])}; get it again, or take the feature out"
        ),
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def whole_numbers(values: Sequence[Any], name: str, where: Callable[[int], str]) -> pa.Array:
    """Integers and nulls as int64.

    Raises:
        InputError: anything else, named by ``where``.
    """
    if found := _integers(values):
        return found
    wrong = (row for row, value in enumerate(values) if _integers([value]) is None)
    row = next(wrong)
    raise InputError(
        f"{where(row)}: {name} {values[row]!r} is not a whole number below 2^63; get the file again"
    )


def _integers(values: Sequence[Any]) -> pa.Array | None:
    """Integers and nulls as int64; None where there is anything else.

    Arrow infers the type: with an explicit one it would truncate fractions.
    """
    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
    whole = pa.types.is_integer(found.type) or pa.types.is_null(found.type)
    return found.cast(pa.int64()) if whole else None
