"""Assemble the histories of either of TencentGR's layouts once its files are parsed."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.dataset.feature_builder import FeatureTableBuilder
from model.dataset.features import FeatureTable
from model.dataset.histories import EventLog, Histories, refuse_first, warn_if_all_cold
from model.dataset.tencent_candidates import Candidates
from model.dataset.tencent_features import Rows, add_feature
from model.dataset.tencent_indexer import INDEXER, Indexer
from model.dataset.tencent_target_actions import read_target_actions

logger = logging.getLogger("onepiece")


@dataclass(frozen=True)
class Sequences:
    """All events of all users: (U,) user re-ids, ascending, and the columns of an event log."""

    user_re_ids: np.ndarray
    events: dict[str, np.ndarray]


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of a feature table: (N,) re-ids, and per feature N codes or lists of codes."""

    source: Rows
    re_ids: np.ndarray
    columns: dict[str, pa.Array]


def assemble(
    root: Path,
    indexer: Indexer,
    sequences: Sequences,
    candidates: Candidates | None,
    item_rows: Iterable[FeatureRows],
    user_rows: Iterable[FeatureRows],
) -> Histories:
    """Number items and users and build the tables.

    Item ids are the indexer's re-ids; candidates that it lacks follow in order of
    ``retrieval_id``. Without a list of candidates, every known item is one.
    """
    raw_user_ids = indexer.raw_user_ids.take(pa.array(sequences.user_re_ids - 1))
    if candidates is None:
        logger.info("%s: no list of candidates, every known item may be recommended", root)
        candidates = Candidates(indexer.raw_item_ids, {}, root)
    else:
        warn_if_all_cold(candidates.path, candidates.raw_ids, indexer.raw_item_ids)
    candidate_ids, cold = candidates.item_ids(indexer.raw_item_ids)
    rows_of_users = np.zeros(len(indexer.raw_user_ids) + 1, np.int64)
    rows_of_users[sequences.user_re_ids] = np.arange(1, len(sequences.user_re_ids) + 1)
    if absent := len(indexer.raw_user_ids) - len(sequences.user_re_ids):
        logger.info("%d users of %s have no row of events and are left out", absent, INDEXER)
    users = FeatureTableBuilder(len(sequences.user_re_ids) + 1)
    _add_rows(users, user_rows, "user_id", rows_of_users, indexer)
    return Histories(
        **sequences.events,
        target_actions=read_target_actions(root, raw_user_ids),
        candidate_item_ids=np.sort(candidate_ids).astype(np.int32),
        num_known_items=indexer.num_items,
        items=_items(indexer, item_rows, candidates, candidate_ids, cold),
        users=users.build(indexer.vocabulary_sizes, indexer.vocabulary_digests),
        raw_item_ids=pa.concat_arrays(
            [indexer.raw_item_ids, candidates.raw_ids.filter(pa.array(cold))]
        ),
        raw_user_ids=raw_user_ids,
    )


def in_user_order(source: Path, user_re_ids: list[np.ndarray], log: EventLog) -> Sequences:
    """Sort users by re-id.

    Raises:
        InputError: there is no user, one has two rows, or the disk has no room to sort them.
    """
    user_ids, events = np.concatenate(user_re_ids), log.finish()
    order = np.argsort(user_ids, kind="stable")
    user_ids = user_ids[order]
    refuse_first(
        np.diff(user_ids) == 0,
        lambda index: (
            f"{source}: user_id {user_ids[index]} has more than one row; merge its sequences "
            "into one"
        ),
    )
    if not np.array_equal(order, np.arange(len(order))):
        events = EventLog.reordered(events, order, log.folder).finish()
    return Sequences(user_ids, events)


def check_re_ids(re_ids: np.ndarray, key: str, largest: int, where: Callable[[int], str]) -> None:
    """Refuse re-ids that the indexer does not have.

    Raises:
        InputError: for the first of them, named by ``where``.
    """
    refuse_first(
        (re_ids < 1) | (re_ids > largest),
        lambda row: (
            f"{where(row)}: {key} {re_ids[row]} is not in {INDEXER} (1 to {largest}); both must "
            "come from the same release"
        ),
    )


def _items(
    indexer: Indexer,
    item_rows: Iterable[FeatureRows],
    candidates: Candidates,
    candidate_ids: np.ndarray,
    cold: np.ndarray,
) -> FeatureTable:
    """Rows of the item table, then those of candidates that it lacks."""
    builder = FeatureTableBuilder(indexer.num_items + int(cold.sum()) + 1)
    seen = _add_rows(builder, item_rows, "item_id", np.arange(indexer.num_items + 1), indexer)
    lacking = cold | ~seen[np.where(cold, 0, candidate_ids)]
    for name, column in candidates.features.items():
        add_feature(
            builder,
            name,
            column,
            rows=np.where(lacking, candidate_ids, 0),
            source=candidates,
            vocabulary_sizes=indexer.vocabulary_sizes,
        )
    if absent := int((~seen[1:]).sum()):
        logger.info("%d items of %s have no row of features", absent, INDEXER)
    return builder.build(indexer.vocabulary_sizes, indexer.vocabulary_digests)


def _add_rows(
    builder: FeatureTableBuilder,
    pieces: Iterable[FeatureRows],
    key: str,
    rows_by_re_id: np.ndarray,
    indexer: Indexer,
) -> np.ndarray:
    """Add every feature column; (largest re-id + 1,) bool, which re-ids had a row."""
    seen = np.zeros(len(rows_by_re_id), bool)
    unknown: dict[str, Path] = {}
    for piece in pieces:
        re_ids, where = piece.re_ids, piece.source.row
        check_re_ids(re_ids, key, len(seen) - 1, where)
        repeated = seen[re_ids]
        first = np.unique(re_ids, return_index=True)[1]
        repeated[np.setdiff1d(np.arange(len(re_ids)), first)] = True
        refuse_first(repeated, _twice(piece, key))
        seen[re_ids] = True
        for name, column in piece.columns.items():
            known = add_feature(
                builder,
                name,
                column,
                rows=rows_by_re_id[re_ids],
                source=piece.source,
                vocabulary_sizes=indexer.vocabulary_sizes,
            )
            if not known:
                unknown.setdefault(name, piece.source.path)
    for name, path in unknown.items():
        logger.warning(
            "%s: column %s is no feature of %s and is left out; if it is one, give it its codes "
            "there, under 'f'",
            path,
            name,
            INDEXER,
        )
    return seen


def _twice(piece: FeatureRows, key: str) -> Callable[[int], str]:
    return lambda row: (
        f"{piece.source.row(row)}: {key} {piece.re_ids[row]} occurs more than once; keep one row"
    )
