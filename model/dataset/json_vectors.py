"""Vectors in JSON lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from model.dataset.raw_files import readable
from model.dataset.vector_chunk import BYTES_PER_CHUNK, VectorChunk, chunk_of
from model.errors import InputError

_JSON_KEY = re.compile(rb'"anonymous_cid"\s*:')
_JSON_ID = re.compile(_JSON_KEY.pattern + rb'\s*(["\d])')


@dataclass(frozen=True)
class JsonVectors:
    """Files of JSON lines with ``anonymous_cid`` and ``emb``."""

    files: list[Path]
    named_width: int | None

    def ids(self) -> Iterator[pa.Array]:
        for path in filter(_has_lines, self.files):
            for rows in _read_json(path, pa.schema({"anonymous_cid": _json_id_type(path)})):
                yield rows["anonymous_cid"].cast(pa.large_string())

    def chunks(self) -> Iterator[VectorChunk]:
        for path in filter(_has_lines, self.files):
            for rows in _read_json(path, pa.schema({"emb": pa.list_(pa.float32())})):
                yield chunk_of(path, rows["emb"])


def _has_lines(path: Path) -> bool:
    """Whether any line is not blank; an empty file is a shard without rows."""
    with readable(path), path.open("rb") as file:
        return not all(map(bytes.isspace, file))


def _json_id_type(path: Path) -> pa.DataType:
    """Whether a file's ids are strings or integers; within a file, all are of one kind."""
    with readable(path), path.open("rb") as file:
        found = next(filter(None, map(_JSON_ID.search, file)), None)
        file.seek(0)
        if found is None and not any(map(_JSON_KEY.search, file)):
            raise InputError(
                f"{path}: no line has the key anonymous_cid; every vector needs its raw id there"
            )
    return pa.int64() if found is None or found[1] != b'"' else pa.large_string()


def _read_json(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    blocks = pj.ReadOptions(block_size=BYTES_PER_CHUNK)
    try:
        with readable(path), pj.open_json(path, blocks, options) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: not valid JSON lines of anonymous_cid and emb "
            f"({' '.join(str(error).split())}); get it again, or write all ids alike, quoted or not"
        ) from None
