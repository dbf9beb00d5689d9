"""Feature columns of TencentGR: integer codes or lists of them, checked against the vocabulary."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.feature_builder import FeatureTableBuilder
from model.dataset.histories import refuse_first
from model.dataset.parquet_files import is_list, list_lengths
from model.errors import InputError


class Rows(Protocol):
    """Rows of a file, which can name each of them."""

    @property
    def path(self) -> Path: ...

    def row(self, index: int) -> str: ...


def add_feature(
    builder: FeatureTableBuilder,
    name: str,
    column: pa.Array,
    *,
    rows: np.ndarray,
    source: Rows,
    vocabulary_sizes: dict[str, int],
) -> None:
    """Add one column of some rows.

    Args:
        builder: of the table.
        name: of the feature.
        column: (N,) integers or lists of integers; null is missing.
        rows: (N,) table rows; rows that are 0 belong to nobody and are passed over.
        source: where the column comes from, for messages.
        vocabulary_sizes: largest code by feature.

    Raises:
        InputError: another type, or a code that the vocabulary does not have.
    """
    wanted = rows > 0
    if is_list(column.type):
        lengths, codes = list_lengths(column), _codes(column.flatten(), name, source)
        owner = np.repeat(np.arange(len(rows)), lengths)
        _check(codes, name, vocabulary_sizes, lambda index: source.row(owner[index]))
        kept = wanted[owner]
        builder.add_arrays(name, rows[wanted], lengths[wanted], codes[kept])
        return
    codes = _codes(column, name, source)
    _check(codes, name, vocabulary_sizes, source.row)
    builder.add_scalars(name, rows[wanted], codes[wanted])


def _codes(column: pa.Array, name: str, source: Rows) -> np.ndarray:
    whole = pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    if not whole and not pa.types.is_floating(column.type):
        raise InputError(
            f"{source.path}: column {name} must hold integers or lists of integers and is "
            f"{column.type}; convert it and write the file again"
        )
    try:  # pandas writes integers with nulls as floats
        return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise InputError(
            f"{source.path}: column {name} holds fractions; features must be integer codes"
        ) from None


def _check(
    codes: np.ndarray,
    name: str,
    vocabulary_sizes: dict[str, int],
    where: Callable[[int], str],
) -> None:
    largest = vocabulary_sizes.get(name, np.iinfo(np.int32).max)
    refuse_first(
        (codes < 0) | (codes > largest),
        lambda index: (
            f"{where(index)}: feature {name} has code {codes[index]}, its vocabulary has 1 to "
            f"{largest}; features and indexer.pkl must come from the same release"
        ),
    )
