"""Vectors in parquet: lists of numbers, or strings that are parsed as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from model.dataset.arrow import compute as pc
from model.dataset.parquet_files import ID, Part, is_list, is_text, read_parts
from model.dataset.vector_chunk import BYTES_PER_CHUNK, VectorChunk, chunk_of
from model.errors import InputError

_ROWS_PER_ID_CHUNK = 1 << 20


def _holds_vectors(kind: pa.DataType) -> bool:
    """Whether a column's type fits; a column, or a list, without any value is of type null."""
    if not is_list(kind):
        return is_text(kind) or pa.types.is_null(kind)
    inner = kind.value_type
    return pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_null(inner)


_VECTOR = ("a list of numbers or a JSON string", _holds_vectors)


@dataclass(frozen=True)
class ParquetVectors:
    """Parquet files with a column of ids and a column of vectors."""

    files: list[Path]
    id_column: str
    named_width: int | None

    def ids(self) -> Iterator[pa.Array]:
        required = {self.id_column: ID}
        for part in read_parts(
            self.files, required, rows_per_part=_ROWS_PER_ID_CHUNK, only_required=True
        ):
            yield part.rows[self.id_column].cast(pa.large_string())

    def chunks(self) -> Iterator[VectorChunk]:
        rows = max(64, BYTES_PER_CHUNK // (4 * (self.named_width or 1024)))
        parts = read_parts(self.files, {"emb": _VECTOR}, rows_per_part=rows, only_required=True)
        for part in parts:
            yield chunk_of(part.path, _lists(part))


def _lists(part: Part) -> pa.Array:
    """The ``emb`` column as lists; strings are parsed as JSON all at once."""
    column = part.rows["emb"]
    if pa.types.is_null(column.type):
        return column.cast(pa.list_(pa.float32()))
    if is_list(column.type):
        return column
    text = pc.fill_null(column.cast(pa.string()), "null")
    lines = pc.binary_join_element_wise('{"emb":', text, "}\n", "")
    joined = pc.binary_join(
        pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), ""
    )
    schema = pa.schema({"emb": pa.list_(pa.float32())})
    options = pj.ParseOptions(explicit_schema=schema)
    blocks = pj.ReadOptions(block_size=max(1 << 20, len(joined[0].as_buffer()) + 1))
    try:
        table = pj.read_json(pa.BufferReader(joined[0].as_buffer()), blocks, options)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{part.path}: after row {part.first}, column emb holds a string that is not a JSON "
            f"list of numbers ({error}); write it again"
        ) from None
    if len(table) != len(column):
        raise InputError(
            f"{part.path}: after row {part.first}, column emb holds a string of more than one JSON "
            "list; write it again"
        )
    return table["emb"].combine_chunks()
