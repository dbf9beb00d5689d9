"""Feature columns of TencentGR: integer codes or lists of them, checked against the vocabulary."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.feature_builder import FeatureTableBuilder
from model.dataset.features import FEATURE_NAME
from model.dataset.histories import refuse_first
from model.dataset.parquet_files import is_list, list_lengths
from model.errors import InputError

_BEYOND = 2.0**63  # no integer column holds it


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
) -> bool:
    """Add one column of some rows, if it is a feature.

    A column without a vocabulary is not: its largest value, say of a date or an id, would become
    the size of an embedding table.

    Args:
        builder: of the table.
        name: of the feature.
        column: (N,) integers or lists of integers; null is missing.
        rows: (N,) table rows; rows that are 0 are ignored.
        source: where the column comes from, for messages.
        vocabulary_sizes: largest code by feature.

    Returns:
        Whether there is a vocabulary of that name.

    Raises:
        InputError: another type, another form than elsewhere, an invalid name, or a code outside
            the vocabulary.
    """
    if pa.types.is_null(column.type):  # all cells are null: neither codes nor lists
        return True
    wanted, listed = rows > 0, is_list(column.type)
    _check_form(builder, name, column, source)
    largest = vocabulary_sizes.get(name)
    if largest is None:
        return False
    if listed:
        lengths = list_lengths(column)
        owner = np.repeat(np.arange(len(rows)), lengths)

        def where(index: int) -> str:
            return source.row(owner[index])

        codes = _codes(column.flatten(), name, source.path, where)
        _check(codes, name, largest, where)
        kept = wanted[owner]
        builder.add_arrays(name, rows[wanted], lengths[wanted], codes[kept])
        return True
    codes = _codes(column, name, source.path, source.row)
    _check(codes, name, largest, source.row)
    builder.add_scalars(name, rows[wanted], codes[wanted])
    return True


def _check_form(builder: FeatureTableBuilder, name: str, column: pa.Array, source: Rows) -> None:
    if not FEATURE_NAME.fullmatch(name):
        raise InputError(
            f"{source.path}: feature {name!r} must be named by letters, digits, _, . and -; rename "
            "it"
        )
    if builder.is_list(name) not in (None, is_list(column.type)):
        filled = int(pc.index(column.is_valid(), True).as_py())
        forms = ("lists", "single codes")
        here, there = forms if is_list(column.type) else forms[::-1]
        raise InputError(
            f"{source.row(max(0, filled))}: feature {name} holds {here} here and {there} in an "
            "earlier file or row; write it in one form"
        )


def _codes(column: pa.Array, name: str, path: Path, where: Callable[[int], str]) -> np.ndarray:
    whole = pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    if not whole and not pa.types.is_floating(column.type):
        raise InputError(
            f"{path}: column {name} must hold integers or lists of integers and is "
            f"{column.type}; convert it and write the file again"
        )
    try:  # pandas writes integers with nulls as floats
        return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = pc.fill_null(column, 0).cast(pa.float64(), safe=False).to_numpy()
        refuse_first(
            ~((values == np.trunc(values)) & (np.abs(values) < _BEYOND)),
            lambda index: (
                f"{where(index)}: feature {name} is {values[index]:g}; it must be an integer code, "
                "and null where it is missing"
            ),
        )
        raise


def _check(
    codes: np.ndarray,
    name: str,
    largest: int,
    where: Callable[[int], str],
) -> None:
    refuse_first(
        (codes < 0) | (codes > largest),
        lambda index: (
            f"{where(index)}: feature {name} has code {codes[index]}, its vocabulary has 1 to "
            f"{largest}; features and indexer.pkl must come from the same release"
        ),
    )
