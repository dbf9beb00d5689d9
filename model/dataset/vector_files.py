"""Where a modality's vectors lie in each layout, and reading them chunk by chunk.

Every source gives ids once (cheap) and vectors as chunks of rows (streamed), in the same order.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from model.dataset.arrow import compute as pc
from model.dataset.csr import offsets_of
from model.dataset.parquet_files import (
    ID,
    Part,
    is_list,
    is_text,
    list_lengths,
    read_parts,
)
from model.dataset.raw_files import files_named, readable, refuse_lookalikes, visible_files
from model.dataset.restricted_pickle import load_pickle
from model.dataset.shard_files import JSON, shard_files
from model.errors import InputError

logger = logging.getLogger("onepiece")

_BYTES_PER_CHUNK = 1 << 26
_ROWS_PER_ID_CHUNK = 1 << 20
_ENDINGS = (".pkl", "_parquet", "")
_JSON_KEY = re.compile(rb'"anonymous_cid"\s*:')
_JSON_ID = re.compile(_JSON_KEY.pattern + rb'\s*(["\d])')


def _holds_vectors(kind: pa.DataType) -> bool:
    """Null is the type of a column, or of a list, in which nothing stands."""
    if not is_list(kind):
        return is_text(kind) or pa.types.is_null(kind)
    inner = kind.value_type
    return pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_null(inner)


_VECTOR = ("a list of numbers or a JSON string", _holds_vectors)


@dataclass(frozen=True)
class VectorChunk:
    """Some rows: row i has ``values[offsets[i] : offsets[i + 1]]``, or none where ``null[i]``.

    ``values`` is float32; ``source`` names the file.
    """

    source: Path
    null: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


class VectorSource(Protocol):
    """Rows of ids and vectors, in an order that does not change."""

    @property
    def named_width(self) -> int | None:
        """The width that the folder's name promises."""
        ...

    def ids(self) -> Iterator[pa.Array]:
        """Raw ids as strings, in pieces."""
        ...

    def chunks(self) -> Iterator[VectorChunk]:
        """Vectors of the same rows."""
        ...


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
        rows = max(64, _BYTES_PER_CHUNK // (4 * (self.named_width or 1024)))
        parts = read_parts(self.files, {"emb": _VECTOR}, rows_per_part=rows, only_required=True)
        for part in parts:
            yield _chunk(part.path, _lists(part))


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
                yield _chunk(path, rows["emb"])


@dataclass(frozen=True)
class PickledVectors:
    """One pickle of raw id -> vector; held in memory, as its format demands."""

    path: Path
    named_width: int | None
    _content: dict[Any, Any]

    @classmethod
    def read(cls, path: Path, named_width: int | None) -> "PickledVectors":
        """Read a pickle whole.

        Raises:
            InputError: missing, damaged, or no dict.
        """
        content = load_pickle(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: must hold a dict of raw id to vector; get it again")
        return cls(path, named_width, content)

    def ids(self) -> Iterator[pa.Array]:
        try:
            yield pa.array([str(key) for key in self._content], pa.large_string())
        except UnicodeEncodeError as error:
            raise InputError(
                f"{self.path}: key {error.object!r} is not text in Unicode; it must be a raw id"
            ) from None

    def chunks(self) -> Iterator[VectorChunk]:
        """All vectors in one piece.

        Raises:
            InputError: one of them is not a list of numbers.
        """
        for key, vector in self._content.items():
            if not isinstance(vector, _SEQUENCES) or _holds_truth_values(vector):
                raise self._no_list(key)
        try:
            vectors = _as_lists(self._content.values())
        except _NO_LISTS:
            key = next(key for key, vector in self._content.items() if not _is_list(vector))
            raise self._no_list(key) from None
        yield _chunk(self.path, vectors)

    def _no_list(self, key: Any) -> InputError:
        return InputError(
            f"{self.path}: the vector of {key!r} is not a list of numbers; get it again"
        )


_SEQUENCES = (np.ndarray, list, tuple, type(None))  # Arrow would take bytes and sets as well
_TRUTH_VALUES = {bool, np.bool_}
_NO_LISTS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError)


def _holds_truth_values(vector: Any) -> bool:
    """Whether a list has any, which Arrow would take for ones and zeros; an array of them not."""
    if isinstance(vector, np.ndarray):
        return vector.dtype == object and _holds_truth_values(vector.ravel().tolist())
    return vector is not None and not _TRUTH_VALUES.isdisjoint(map(type, vector))


def _as_lists(vectors: Iterable[Any]) -> pa.Array:
    return pa.array(vectors, pa.list_(pa.float32()), from_pandas=False)


def _is_list(vector: Any) -> bool:
    try:
        _as_lists([vector])
    except _NO_LISTS:
        return False
    return True


def _chunk(source: Path, vectors: pa.Array) -> VectorChunk:
    lengths = list_lengths(vectors)
    values = pc.fill_null(vectors.flatten().cast(pa.float32(), safe=False), float("nan"))
    return VectorChunk(
        source=source,
        null=vectors.is_null().to_numpy(zero_copy_only=False),
        offsets=offsets_of(lengths),
        values=values.to_numpy(zero_copy_only=False),
    )


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


def _has_lines(path: Path) -> bool:
    """Whether any line is not blank; an empty file is a shard without rows."""
    with readable(path), path.open("rb") as file:
        return not all(map(bytes.isspace, file))


def _json_id_type(path: Path) -> pa.DataType:
    """Some writers quote the ids, some do not; one file is always one or the other."""
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
    blocks = pj.ReadOptions(block_size=_BYTES_PER_CHUNK)
    try:
        with readable(path), pj.open_json(path, blocks, options) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: not valid JSON lines of anonymous_cid and emb "
            f"({' '.join(str(error).split())}); get it again"
        ) from None


def find_vectors(layout: str, root: Path, modality: str) -> VectorSource:
    """Find a modality's files.

    Raises:
        InputError: not there; the message lists the modalities that are.
    """
    if layout == "recbole":
        return _find_recbole(root, modality)
    folder = root / ("creative_emb" if layout == "tencent_jsonl" else "mm_emb")
    pattern = re.compile(rf"emb_{re.escape(modality)}_(\d+)(_parquet)?(\.pkl)?")
    names = [path.name for path in visible_files(folder)]
    matches = [match for match in map(pattern.fullmatch, names) if match]
    if len(matches) > 1:
        raise InputError(
            f"{folder}: modality {modality} is there more than once "
            f"({', '.join(match[0] for match in matches)}); keep one"
        )
    if matches:
        return _open(folder / matches[0][0], int(matches[0][1]))
    if not folder.is_dir():
        refuse_lookalikes(root, folder.name)
    refuse_lookalikes(folder, *(f"emb_{modality}_<width>{end}" for end in _ENDINGS))
    raise InputError(
        f"{folder}: no vectors of modality {modality} (found: {', '.join(names) or 'nothing'}); "
        "copy them there or take it out of modality_embeddings.modalities"
    )


def _open(path: Path, named_width: int) -> VectorSource:
    if path.suffix == ".pkl":
        return PickledVectors.read(path, named_width)
    form, files = shard_files(path)
    if form == JSON:
        return JsonVectors(files, named_width)
    return ParquetVectors(files, "anonymous_cid", named_width)


def _find_recbole(root: Path, modality: str) -> VectorSource:
    found = files_named(root, f"<name>.{modality}.parquet")
    if not found:
        others = ", ".join(path.name for path in visible_files(root, ".parquet")) or "none"
        raise InputError(
            f"{root}: no file <name>.{modality}.parquet (embedding files there: {others}); add it "
            "with columns item_id and emb, or take it out of modality_embeddings.modalities"
        )
    return ParquetVectors(found, "item_id", None)
