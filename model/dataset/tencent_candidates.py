"""TencentGR's ``candidate/*.parquet``: what may be recommended, and items unseen in training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.csr import offsets_of
from model.dataset.parquet_files import (
    ID,
    INTEGER,
    Part,
    integers,
    is_list,
    list_lengths,
    read_parts,
    read_schema,
)
from model.dataset.shard_files import parquet_shards
from model.errors import InputError

_ROWS_PER_PART = 65_536
_RAW_ID_COLUMNS = ("item_id", "creative_id")
_UNSEEN_FIELDS = ("cold_start", "is_str")
_NO_CODES = (pa.ArrowInvalid, pa.ArrowNotImplementedError)
_COLD_FLAG_REMEDY = "the published fields are cold_start (or is_str) and feature_value"


@dataclass(frozen=True)
class Candidates:
    """Candidates in order of ``retrieval_id``.

    Attributes:
        raw_ids: (N,) strings.
        features: name -> (N,) int64 codes or lists of them; values unseen in training are 0 in a
            list and null otherwise.
        path: where they come from.
    """

    raw_ids: pa.LargeStringArray
    features: dict[str, pa.Array]
    path: Path

    def row(self, index: int) -> str:
        """Name the file and one candidate, for messages."""
        return f"{self.path} item {self.raw_ids[index]}"

    def item_ids(self, known: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Number the candidates.

        Args:
            known: (I,) raw ids of items 1..I.

        Returns:
            (N,) int64 item ids, unknown candidates numbered from I + 1 in their order; (N,) bool,
            which candidates are unknown.
        """
        found = pc.fill_null(pc.index_in(self.raw_ids, value_set=known), -1)
        positions = found.to_numpy(zero_copy_only=False).astype(np.int64)
        cold = positions < 0
        item_ids = np.where(cold, len(known) + np.cumsum(cold), positions + 1)
        return item_ids, cold


def read_candidates(folder: Path) -> Candidates:
    """Read all files of the folder; both published spellings of the columns are understood.

    Raises:
        InputError: missing folder or column, no rows, wrong type, files with different features,
            an id or a retrieval id given twice.
    """
    files = parquet_shards(folder)
    id_column = _id_column(files[0])
    required = {id_column: ID, "retrieval_id": INTEGER}
    ids: list[pa.Array] = []
    order: list[np.ndarray] = []
    features: list[dict[str, pa.Array]] = []
    for part in read_parts(files, required, rows_per_part=_ROWS_PER_PART):
        order.append(integers(part.rows["retrieval_id"], part.row, "retrieval_id"))
        _refuse_null(part, id_column)
        ids.append(part.rows[id_column].cast(pa.large_string()))
        features.append(_features(part))
        _require_same(part.path, features[-1], features[0])
    if not ids:
        raise InputError(f"{folder}: its files hold no candidates; get them again")
    return in_retrieval_order(
        folder,
        pa.concat_arrays(ids),
        np.concatenate(order),
        {name: pa.concat_arrays([piece[name] for piece in features]) for name in features[0]},
    )


def in_retrieval_order(
    path: Path, raw_ids: pa.Array, retrieval_ids: np.ndarray, features: dict[str, pa.Array]
) -> Candidates:
    """Sort candidates by retrieval id.

    Raises:
        InputError: an id or a retrieval id given twice.
    """
    _refuse_duplicates(path, "retrieval_id", pa.array(retrieval_ids))
    _refuse_duplicates(path, "candidate", raw_ids)
    order = pa.array(np.argsort(retrieval_ids))
    return Candidates(
        raw_ids=raw_ids.take(order),
        features={name: column.take(order) for name, column in features.items()},
        path=path,
    )


def _id_column(path: Path) -> str:
    names = read_schema(path).names
    for name in _RAW_ID_COLUMNS:
        if name in names:
            return name
    raise InputError(
        f"{path}: neither column item_id nor creative_id is there (there are {', '.join(names)}); "
        "the file must follow the published layout"
    )


def _refuse_null(part: Part, name: str) -> None:
    if part.rows[name].null_count:
        row = int(pc.index(pc.is_null(part.rows[name]), True).as_py())
        raise InputError(f"{part.row(row)}: {name} is null; every candidate needs one")


def _refuse_duplicates(folder: Path, name: str, values: pa.Array) -> None:
    counts = pc.value_counts(values)
    repeated = pc.greater(counts.field("counts"), 1)
    if pc.any(repeated).as_py():
        first = counts.field("values").filter(repeated)[0].as_py()
        raise InputError(f"{folder}: {name} {first} occurs more than once; keep one row")


def _features(part: Part) -> dict[str, pa.Array]:
    """Codes by feature; a column without a single value has no type and is ignored."""
    columns = {}
    for field in part.rows.schema:
        if pa.types.is_struct(field.type):
            columns[field.name] = _feature(part, field.name)
        elif field.name.isdecimal() and not pa.types.is_null(field.type):
            raise InputError(
                f"{part.path}: column {field.name} must be a struct and is {field.type}; "
                f"{_COLD_FLAG_REMEDY}"
            )
    return columns


def _require_same(path: Path, features: dict[str, pa.Array], first: dict[str, pa.Array]) -> None:
    for name in sorted({*features, *first}):
        here, there = features.get(name), first.get(name)
        if here is None or there is None or here.type != there.type:
            raise InputError(
                f"{path}: column {name} is not the one of the first candidate file; all files must "
                "have the same columns of the same types"
            )


def _feature(part: Part, name: str) -> pa.Array:
    """Codes of one struct column; what is flagged as unseen becomes 0 or null."""
    column = part.rows[name]
    fields = [field.name for field in column.type]
    flag = next((field for field in _UNSEEN_FIELDS if field in fields), None)
    if flag is None or "feature_value" not in fields:
        raise InputError(
            f"{part.path}: column {name} has the fields {', '.join(fields)}; {_COLD_FLAG_REMEDY}"
        )
    try:
        unseen = pc.fill_null(pc.struct_field(column, flag).cast(pa.int64()), 0)
    except _NO_CODES as error:
        raise InputError(
            f"{part.path}: {flag} in column {name} must be 0 or 1 ({error}); correct it"
        ) from None
    values = pc.struct_field(column, "feature_value")
    values = pc.if_else(pc.equal(unseen, 0), values, pa.scalar(None, values.type))
    try:
        return _codes(values)
    except _NO_CODES:
        row = next(row for row in range(len(values)) if not _holds_codes(values.slice(row, 1)))
        raise InputError(
            f"{part.row(row)}: column {name} holds {values[row].as_py()!r}, which is neither a "
            f"code nor flagged by {flag}; correct the value or its flag"
        ) from None


def _codes(values: pa.Array) -> pa.Array:
    if not is_list(values.type):
        return values.cast(pa.int64())
    codes = values.flatten().cast(pa.int64())
    offsets = offsets_of(list_lengths(values))
    return pa.LargeListArray.from_arrays(pa.array(offsets), codes)


def _holds_codes(values: pa.Array) -> bool:
    try:
        _codes(values)
    except _NO_CODES:
        return False
    return True
