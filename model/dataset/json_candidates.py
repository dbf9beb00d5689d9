"""``predict_set.jsonl``: the candidates of the competition's JSON layout, some lines at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.histories import refuse_first
from model.dataset.json_files import (
    JsonLines,
    feature_columns,
    read_lines,
    two_forms,
    whole_numbers,
)
from model.dataset.parquet_files import integers
from model.dataset.tencent_candidates import Candidates, in_retrieval_order
from model.errors import InputError

_CANDIDATES_PER_PART = 65_536
_WIDENING = (pa.null(), pa.int64(), pa.float64())  # each can hold the values of those before it


def read_json_candidates(path: Path) -> Candidates:
    """Read ``predict_set.jsonl``: creative_id, retrieval_id and features by line.

    Raises:
        InputError: a line without one of them, or an id given twice.
    """
    raw_ids: list[pa.Array] = []
    order: list[np.ndarray] = []
    features: list[dict[str, pa.Array]] = []
    is_list: dict[str, bool] = {}
    for part in read_lines(path, _CANDIDATES_PER_PART):
        ids, places, rows = _candidates(part)
        raw_ids.append(_texts(ids, part.row))
        places = whole_numbers(places, "retrieval_id", part.row)
        order.append(integers(places, part.row, "retrieval_id"))
        features.append(feature_columns(rows, part.row))
        _refuse_other_form(features[-1], is_list, part.row)
    return in_retrieval_order(
        path,
        pa.concat_arrays(raw_ids),
        np.concatenate(order),
        _joined(path, features, [len(places) for places in order]),
    )


def _candidates(part: JsonLines) -> tuple[list[Any], list[Any], list[dict[str, Any]]]:
    """Raw ids, retrieval ids and features of some lines."""
    raw_ids, order, features = [], [], []
    for index, line in enumerate(part.values):
        try:
            raw_ids.append(line["creative_id"])
            order.append(line["retrieval_id"])
            features.append(_seen(line.get("features") or {}))
        except (TypeError, KeyError, AttributeError):
            raise InputError(
                f"{part.row(index)}: must be an object with creative_id, retrieval_id and "
                "features; get the file again"
            ) from None
    return raw_ids, order, features


def _texts(raw_ids: list[Any], where: Callable[[int], str]) -> pa.Array:
    refuse_first(
        np.array([type(raw_id) not in (int, str) for raw_id in raw_ids]),
        lambda row: (
            f"{where(row)}: creative_id {raw_ids[row]!r} is neither a whole number nor a string; "
            "get the file again"
        ),
    )
    return pa.array(map(str, raw_ids), pa.large_string())


def _refuse_other_form(
    columns: dict[str, pa.Array], is_list: dict[str, bool], where: Callable[[int], str]
) -> None:
    """Refuse lists where earlier parts hold codes, and vice versa; ``is_list`` records which."""
    for name, column in columns.items():
        listed = pa.types.is_list(column.type)
        if is_list.setdefault(name, listed) != listed:
            filled = column.is_valid().to_numpy(zero_copy_only=False)
            refuse_first(filled, two_forms(name, where))


def _joined(
    path: Path, parts: list[dict[str, pa.Array]], lengths: list[int]
) -> dict[str, pa.Array]:
    """The columns of all parts, concatenated, null where a part lacks one.

    Raises:
        InputError: fractions in one part, and in another an integer too large to convert.
    """
    columns = {}
    for name in sorted(set().union(*parts)):
        kind = _widest([part[name].type for part in parts if name in part])
        try:
            pieces = [
                part[name].cast(kind) if name in part else pa.nulls(length, kind)
                for part, length in zip(parts, lengths, strict=True)
            ]
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{path}: feature {name} must be a code or a list of codes in every line "
                f"({error}); get it again, or take the feature out"
            ) from None
        columns[name] = pa.concat_arrays(pieces)
    return columns


def _widest(kinds: Sequence[pa.DataType]) -> pa.DataType:
    """The type that holds all of them: numbers, or lists of numbers."""
    if pa.types.is_list(kinds[0]):
        return pa.list_(_widest([kind.value_type for kind in kinds]))
    return max(kinds, key=_WIDENING.index)


def _seen(features: dict[str, Any]) -> dict[str, Any]:
    """The features of a candidate; strings are raw values unseen in training and become 0."""
    return {
        name: [_code(code) for code in value] if isinstance(value, list) else _code(value)
        for name, value in features.items()
    }


def _code(value: Any) -> Any:
    return 0 if isinstance(value, str) else value
