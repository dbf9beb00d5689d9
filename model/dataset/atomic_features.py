"""Feature tables from RecBole's typed columns.

``token`` becomes a scalar feature and ``token_seq`` a list; codes number the distinct tokens of
the table in sorted order, from 1. ``float`` is cut into quantile bins. ``float_seq`` is ignored.
"""

import logging

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.atomic_file import FLOAT, FLOAT_SEQ, TOKEN, TOKEN_SEQ, AtomicFile
from model.dataset.feature_builder import FeatureTableBuilder
from model.dataset.features import FeatureTable, digest_vocabulary
from model.dataset.parquet_files import list_lengths
from model.errors import InputError

logger = logging.getLogger("onepiece")

NUM_BINS = 32


def build_features(
    table: AtomicFile | None, extra: AtomicFile | None, key: str, raw_ids: pa.Array
) -> FeatureTable:
    """Encode all feature columns.

    Args:
        table: defines the vocabulary; None gives a table without columns.
        extra: rows of ids that the table lacks; tokens that are not in the table get 0.
        key: the id column.
        raw_ids: (N,) the id of row i + 1.
    """
    builder = FeatureTableBuilder(len(raw_ids) + 1)
    sizes: dict[str, int] = {}
    digests: dict[str, str] = {}
    if table is None:
        return builder.build(sizes, digests)
    rows = _rows(table, key, raw_ids)
    extra_rows = None
    if extra is not None:
        lacking = pc.invert(pc.is_in(extra.columns[key], value_set=table.columns[key]))
        extra_rows = np.where(lacking.to_numpy(zero_copy_only=False), _rows(extra, key, raw_ids), 0)
    for name in table.of_type(TOKEN, TOKEN_SEQ):
        vocabulary = _vocabulary(_tokens(table, name).flatten())
        sizes[name] = len(vocabulary)
        digests[name] = digest_vocabulary(vocabulary, np.arange(1, len(vocabulary) + 1))
        _add_tokens(builder, table, name, rows, vocabulary)
        if extra is not None and extra_rows is not None and _has(extra, table, name):
            _add_tokens(builder, extra, name, extra_rows, vocabulary)
    for name in table.of_type(FLOAT):
        sizes[name] = _add_bins(builder, table, extra, name, rows, extra_rows)
    for name in table.of_type(FLOAT_SEQ):
        logger.info("%s: column %s (float_seq) is not used as a feature", table.path.name, name)
    return builder.build(sizes, digests)


def _has(extra: AtomicFile, table: AtomicFile, name: str) -> bool:
    """Whether the other file has the column as well; it must be of the same type there."""
    kind = extra.types.get(name)
    if kind not in (None, table.types[name]):
        raise InputError(
            f"{extra.path} line 1: {name} must be of type {table.types[name]}, as in "
            f"{table.path.name}, and is {kind}; use the same type"
        )
    return kind is not None


def _rows(file: AtomicFile, key: str, raw_ids: pa.Array) -> np.ndarray:
    found = pc.index_in(file.columns[key], value_set=raw_ids)
    return found.to_numpy(zero_copy_only=False).astype(np.int64) + 1


def _tokens(file: AtomicFile, name: str) -> pa.Array:
    """Lists of tokens; a cell of a ``token`` column is a list of one, even with spaces."""
    column = pc.fill_null(file.columns[name], "")
    if file.types[name] == TOKEN:
        return pa.LargeListArray.from_arrays(np.arange(len(column) + 1), column)
    return pc.split_pattern(column, " ")


def _vocabulary(tokens: pa.Array) -> pa.Array:
    distinct = pc.unique(tokens)
    distinct = distinct.filter(pc.not_equal(distinct, ""))
    return distinct.take(pc.sort_indices(distinct))


def _add_tokens(
    builder: FeatureTableBuilder,
    file: AtomicFile,
    name: str,
    rows: np.ndarray,
    vocabulary: pa.Array,
) -> None:
    tokens = _tokens(file, name)
    found = pc.fill_null(pc.index_in(tokens.flatten(), value_set=vocabulary), -1)
    codes = found.to_numpy(zero_copy_only=False) + 1
    wanted = rows > 0
    if file.types[name] == TOKEN:
        builder.add_scalars(name, rows[wanted], codes[wanted])
        return
    lengths = list_lengths(tokens)
    kept = np.repeat(wanted, lengths)
    builder.add_arrays(name, rows[wanted], lengths[wanted], codes[kept])


def _add_bins(
    builder: FeatureTableBuilder,
    table: AtomicFile,
    extra: AtomicFile | None,
    name: str,
    rows: np.ndarray,
    extra_rows: np.ndarray | None,
) -> int:
    """Cut a number into bins by the table's quantiles; returns how many there are."""
    values = table.numbers(name)
    finite = values[np.isfinite(values)]
    if not len(finite):
        logger.info("%s: column %s holds no number and is not used", table.path.name, name)
        return 0
    inner = np.unique(np.quantile(finite, np.arange(1, NUM_BINS) / NUM_BINS))
    builder.add_scalars(name, rows, _bins(values, inner))
    if extra is not None and extra_rows is not None and _has(extra, table, name):
        wanted = extra_rows > 0
        builder.add_scalars(name, extra_rows[wanted], _bins(extra.numbers(name), inner)[wanted])
    logger.info("%s: column %s is cut into %d bins", table.path.name, name, len(inner) + 1)
    return len(inner) + 1


def _bins(values: np.ndarray, inner: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), np.searchsorted(inner, values, side="right") + 1, 0)
