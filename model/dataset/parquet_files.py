"""Read folders of parquet files batch by batch, with one clear message when they are wrong."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.arrow import compute as pc
from model.dataset.raw_files import readable
from model.errors import InputError

_LARGEST = pa.scalar(2**63 - 1, pa.uint64())
_DAMAGE = (pa.ArrowInvalid, pa.ArrowIOError, UnicodeDecodeError)
_READ_BUFFER = 1 << 20  # bytes; without it Arrow holds a whole column of a row group


def is_list(kind: pa.DataType) -> bool:
    """Any of Arrow's list types."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Any of Arrow's string types, also with a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


INTEGER: tuple[str, Callable[[pa.DataType], bool]] = ("an integer", pa.types.is_integer)
ID: tuple[str, Callable[[pa.DataType], bool]] = (
    "an integer or a string",
    lambda kind: pa.types.is_integer(kind) or is_text(kind),
)


@dataclass(frozen=True)
class Part:
    """Rows of one file: ``rows`` begins at row ``first`` of ``path``."""

    path: Path
    first: int
    rows: pa.RecordBatch

    def row(self, index: int) -> str:
        """Name the file and one of these rows, for messages."""
        return f"{self.path} row {self.first + index}"


def read_parts(
    files: list[Path],
    required: Mapping[str, tuple[str, Callable[[pa.DataType], bool]]],
    *,
    rows_per_part: int,
    only_required: bool = False,
) -> Iterator[Part]:
    """Read files in order, some rows at a time.

    Args:
        files: parquet files.
        required: columns that must be there, with what their type must be.
        rows_per_part: at most that many rows at once.
        only_required: leave the other columns unread.

    Raises:
        InputError: truncated or damaged file, missing column, column of another type.
    """
    for path in files:
        try:
            with (
                readable(path),
                pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BUFFER) as file,
            ):
                empty = file.metadata.num_rows == 0
                _require_columns(path, file.schema_arrow, required, empty=empty)
                if empty:
                    continue
                columns = list(required) if only_required else None
                first = 0
                for rows in file.iter_batches(batch_size=rows_per_part, columns=columns):
                    rows.validate(full=True)  # or texts would be assumed to be UTF-8
                    yield Part(path, first, rows)
                    first += rows.num_rows
        except (*_DAMAGE, pa.ArrowNotImplementedError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise damaged(path, error) from None


def read_schema(path: Path) -> pa.Schema:
    """The columns of one file.

    Raises:
        InputError: truncated or damaged.
    """
    try:
        with readable(path):
            return pq.read_schema(path)
    except _DAMAGE as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> InputError:
    """The error for a file that cannot be parsed."""
    reason = " ".join(str(error).split())
    return InputError(f"{path}: truncated or not a valid parquet file ({reason}); get it again")


def _require_columns(
    path: Path,
    schema: pa.Schema,
    required: Mapping[str, tuple[str, Callable[[pa.DataType], bool]]],
    *,
    empty: bool,
) -> None:
    repeated = next((name for name, times in Counter(schema.names).items() if times > 1), None)
    if repeated is not None:
        raise InputError(
            f"{path}: column {repeated} occurs more than once; keep one and write the file again"
        )
    for name, (kind, fits) in required.items():
        if name not in schema.names:
            raise InputError(
                f"{path}: column {name} is missing (there are {', '.join(schema.names)}); the "
                "file must follow the published layout"
            )
        found = schema.field(name).type
        if not fits(found) and not (empty and pa.types.is_null(found)):  # as pandas writes it
            raise InputError(
                f"{path}: column {name} must be {kind} and is {found}; convert it and write the "
                "file again"
            )


def integers(column: pa.Array, where: Callable[[int], str], name: str) -> np.ndarray:
    """A column without nulls as int64.

    Raises:
        InputError: a null or a number beyond 64 bits, named by ``where``.
    """
    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InputError(f"{where(row)}: {name} is null; every row needs one")
    if pa.types.is_uint64(column.type):
        row = int(pc.index(pc.greater(column, _LARGEST), True).as_py())
        if row >= 0:
            raise InputError(f"{where(row)}: {name} {column[row]} is beyond 64 bits; correct it")
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False)


def list_lengths(column: pa.Array) -> np.ndarray:
    """(N,) int64 lengths of lists; 0 for null."""
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return lengths.cast(pa.int64()).to_numpy(zero_copy_only=False)
