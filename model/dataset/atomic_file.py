"""RecBole's atomic files: tab-separated, with ``name:type`` headers.

Types: ``token`` (one category), ``token_seq`` (several, separated by spaces), ``float`` and
``float_seq``.
"""

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from model.dataset.arrow import compute as pc
from model.dataset.features import FEATURE_NAME
from model.dataset.raw_files import readable, require_file
from model.errors import InputError

TOKEN, TOKEN_SEQ, FLOAT, FLOAT_SEQ = "token", "token_seq", "float", "float_seq"
_TYPES = (TOKEN, TOKEN_SEQ, FLOAT, FLOAT_SEQ)
_ROW = re.compile(r"Row #(\d+)")
_COLUMN = re.compile(r"^In CSV column #(\d+)")
_LARGEST_BLOCK = 1 << 30
_ARROW = {TOKEN: pa.large_string(), TOKEN_SEQ: pa.large_string(), FLOAT_SEQ: pa.large_string()}


@dataclass(frozen=True)
class AtomicFile:
    """One file: its columns by name, and the type of each."""

    path: Path
    columns: dict[str, pa.Array]
    types: dict[str, str]

    @property
    def num_rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def line(self, row: int) -> str:
        """Name the file and the line of a row, for messages."""
        return f"{self.path} line {_line_number(self.path, row)}"

    def ends_in_a_line(self) -> bool:
        """Whether it ends in a newline, as a complete file nearly always does."""
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def of_type(self, *types: str) -> list[str]:
        """Names of the columns of these types, sorted, without the ids."""
        ids = ("user_id", "item_id")
        return sorted(
            name for name, kind in self.types.items() if kind in types and name not in ids
        )

    def strings(self, name: str) -> pa.Array:
        """A required token column.

        Raises:
            InputError: a column of another type, or an empty cell.
        """
        if self.types[name] != TOKEN:
            raise InputError(
                f"{self.path} line 1: {name} must be of type token and is {self.types[name]}; "
                f"write {name}:token"
            )
        column = self.columns[name]
        empty = pc.equal(pc.fill_null(column, ""), "")
        if pc.any(empty).as_py():
            row = int(pc.index(empty, True).as_py())
            raise InputError(f"{self.line(row)}: {name} is empty; every row needs one")
        return column

    def numbers(self, name: str) -> np.ndarray:
        """A float column as float64, empty cells as NaN."""
        return pc.fill_null(self.columns[name], float("nan")).to_numpy(zero_copy_only=False)


def read_atomic_file(path: Path, required: tuple[str, ...]) -> AtomicFile:
    """Read a whole file.

    Args:
        path: of the file.
        required: names of columns that must be there.

    Raises:
        InputError: missing file or column, a header without types, a row with too few or too many
            cells, a cell that is not of its column's type.
    """
    types = _header(path)
    for name in required:
        if name not in types:
            raise InputError(
                f"{path}: column {name} is missing (there are {', '.join(types)}); add it to the "
                "file"
            )
    with readable(path):
        try:
            table = _read_table(path, types)
        except pa.ArrowInvalid:
            table = _read_table_in_order(path, types)
    if not table.num_rows:
        raise InputError(f"{path}: there are no rows below the header; get the file again")
    return AtomicFile(path, {name: _whole(table[name]) for name in types}, types)


def _read_table(
    path: Path, types: dict[str, str], *, use_threads: bool = True, block_size: int = 1 << 20
) -> pa.Table:
    return pcsv.read_csv(
        path,
        read_options=pcsv.ReadOptions(
            column_names=list(types), skip_rows=1, use_threads=use_threads, block_size=block_size
        ),
        parse_options=pcsv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pcsv.ConvertOptions(
            column_types={name: _ARROW.get(kind, pa.float64()) for name, kind in types.items()},
            null_values=["", "nan", "NaN"],
            strings_can_be_null=False,
        ),
    )


def _read_table_in_order(path: Path, types: dict[str, str]) -> pa.Table:
    """Read again in one thread and one block, where a row exceeds a block or the file is wrong.

    Arrow's error names the row only with a single thread, and one block splits no row.
    """
    block_size = min(max(path.stat().st_size, 1 << 20), _LARGEST_BLOCK)
    try:
        return _read_table(path, types, use_threads=False, block_size=block_size)
    except pa.ArrowInvalid as error:
        reason = _ROW.sub(
            lambda found: f"line {_line_number(path, int(found[1]) - 2)}",
            " ".join(str(error).split()),
        )
        reason = _COLUMN.sub(lambda found: f"column {[*types][int(found[1])]}", reason)
        raise InputError(f"{path}: {reason}; correct that row") from None


def _line_number(path: Path, row: int) -> int:
    """Line number, from 1, of a row below the header; blank lines are no rows."""
    with path.open(encoding="latin-1") as file:  # in which every byte is a character
        numbers = (number for number, line in enumerate(file, 1) if number > 1 and line != "\n")
        return next(itertools.islice(numbers, row, None), row + 2)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _header(path: Path) -> dict[str, str]:
    """Type by column name, in order."""
    require_file(path)
    try:
        with readable(path), path.open(encoding="utf-8-sig") as file:
            header, below = file.readline(), file.read(1)
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: not text in UTF-8; unpack it if it is compressed, or convert it"
        ) from None
    if not header:
        raise InputError(f"{path}: the file is empty; get it again")
    types: dict[str, str] = {}
    for cell in header.rstrip("\r\n").split("\t"):
        name, _, kind = cell.rpartition(":")
        if kind not in _TYPES or not FEATURE_NAME.fullmatch(name) or name in types:
            raise InputError(
                f"{path} line 1: header {cell!r} must be a name of its own, a colon and one of "
                f"{', '.join(_TYPES)}, as in user_id:token"
            )
        types[name] = kind
    if not below:
        raise InputError(f"{path}: there are no rows below the header; get the file again")
    return types
