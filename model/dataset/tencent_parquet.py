"""TencentGR's public layout: ``indexer.pkl`` and folders of parquet files.

    seq/        user_id, seq: list<struct<item_id, action_type, timestamp>>
    user_feat/  user_id and one column per feature: integer or list of integers
    item_feat/  item_id and the same
    candidate/  item_id (raw), retrieval_id and one struct per feature

A release without any of the four folders (the public demo has only vectors) gives users without
events; one with some of them must have them all.
"""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.features import FeatureTable
from model.dataset.histories import EventLog, Histories, check_events
from model.dataset.interactions import EXPOSURE
from model.dataset.parquet_files import (
    INTEGER,
    Part,
    integers,
    is_list,
    list_lengths,
    read_parts,
)
from model.dataset.raw_files import refuse_lookalikes
from model.dataset.shard_files import parquet_shards
from model.dataset.tencent_candidates import read_candidates
from model.dataset.tencent_indexer import Indexer, read_indexer
from model.dataset.tencent_store import (
    FeatureRows,
    Sequences,
    assemble,
    check_re_ids,
    in_user_order,
)
from model.errors import InputError
from model.progress import track

logger = logging.getLogger("onepiece")

FOLDERS = ("seq", "user_feat", "item_feat", "candidate")
_USERS_PER_PART = 16_384
_ROWS_PER_PART = 262_144
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # as pandas writes it
_EVENT_FIELDS = ("item_id", "action_type", "timestamp")


def read_tencent_parquet(root: Path, spool: Path | None = None) -> Histories:
    """Read the whole layout; users are those of ``seq/`` in order of their re-ids.

    Args:
        root: folder of the release.
        spool: folder of the events' temporary files; the machine's temporary one by default.

    Raises:
        InputError: anything missing, damaged or invalid, with file, row and remedy.
    """
    indexer = read_indexer(root)
    if not any((root / name).is_dir() for name in FOLDERS):
        refuse_lookalikes(root, *FOLDERS)
        logger.warning(
            "%s holds none of %s: %d users without any event; vectors can be read and codebooks "
            "made of them, but nothing can be trained",
            root,
            ", ".join(FOLDERS),
            len(indexer.raw_user_ids),
        )
        return _without_events(indexer)
    folders = {name: parquet_shards(root / name) for name in FOLDERS}
    return assemble(
        root,
        indexer,
        _read_sequences(folders["seq"], indexer, spool),
        read_candidates(root / "candidate"),
        item_rows=_feature_rows(folders["item_feat"], "item_id"),
        user_rows=_feature_rows(folders["user_feat"], "user_id"),
    )


def _without_events(indexer: Indexer) -> Histories:
    num_users, num_items = len(indexer.raw_user_ids), indexer.num_items
    return Histories(
        **EventLog().finish() | {"offsets": np.zeros(num_users + 1, np.int64)},
        target_actions=np.full(num_users, -1, np.int8),
        candidate_item_ids=np.arange(1, num_items + 1, dtype=np.int32),
        num_known_items=num_items,
        items=FeatureTable.without_features(num_items),
        users=FeatureTable.without_features(num_users),
        raw_item_ids=indexer.raw_item_ids,
        raw_user_ids=indexer.raw_user_ids,
    )


def _read_sequences(files: list[Path], indexer: Indexer, spool: Path | None) -> Sequences:
    log, users, unknown_actions = EventLog(spool), [], 0
    required = {"user_id": INTEGER, "seq": ("a list", is_list)}
    parts = read_parts(files, required, rows_per_part=_USERS_PER_PART, only_required=True)
    for part in track(parts, total=None, what="reading sequences", unit="part"):
        user_ids = integers(part.rows["user_id"], part.row, "user_id")
        check_re_ids(user_ids, "user_id", len(indexer.raw_user_ids), part.row)
        lengths, where = list_lengths(part.rows["seq"]), _named(part, user_ids)
        columns, nulls = _events(part, lengths, where)
        unknown_actions += nulls
        check_events(lengths=lengths, **columns, num_items=indexer.num_items, where=where)
        log.append(lengths=lengths, **columns)
        users.append(user_ids)
    if not users:
        raise InputError(f"{files[0].parent}: its files hold no rows; get them again")
    if unknown_actions:
        logger.info("%d events without action_type are treated as exposures", unknown_actions)
    return in_user_order(files[0].parent, users, log)


def _named(part: Part, user_ids: np.ndarray) -> Callable[[int], str]:
    return lambda row: f"{part.row(row)} (user_id {user_ids[row]})"


def _events(
    part: Part, lengths: np.ndarray, where: Callable[[int], str]
) -> tuple[dict[str, np.ndarray], int]:
    """The flat columns of a part, and how many actions were null."""
    flat = part.rows["seq"].flatten()
    fields = [field.name for field in flat.type] if pa.types.is_struct(flat.type) else []
    for name in _EVENT_FIELDS:
        if name not in fields:
            raise InputError(
                f"{part.path}: column seq must be a list of structs with {', '.join(_EVENT_FIELDS)}"
                f" and is {part.rows['seq'].type}: {name} is missing; write it as published"
            )
        kind = flat.type.field(name).type
        unknown = name == "action_type" and pa.types.is_null(kind)  # throughout
        if not pa.types.is_integer(kind) and not unknown:
            raise InputError(
                f"{part.path}: {name} in column seq must be an integer and is {kind}; convert it"
            )
    ends = np.cumsum(lengths)

    def event(index: int) -> str:
        return where(int(np.searchsorted(ends, index, side="right")))

    actions = pc.struct_field(flat, "action_type")
    if pa.types.is_null(actions.type):
        actions = actions.cast(pa.int8())
    return {
        "item_ids": integers(pc.struct_field(flat, "item_id"), event, "item_id"),
        "action_types": integers(pc.fill_null(actions, EXPOSURE), event, "action_type"),
        "timestamps": integers(pc.struct_field(flat, "timestamp"), event, "timestamp"),
    }, actions.null_count


def _feature_rows(files: list[Path], key: str) -> Iterator[FeatureRows]:
    parts = read_parts(files, {key: INTEGER}, rows_per_part=_ROWS_PER_PART)
    for part in track(parts, total=None, what=f"reading {files[0].parent.name}", unit="part"):
        index = _index_columns(part.rows.schema)
        names = [name for name in part.rows.schema.names if name != key and name not in index]
        yield FeatureRows(
            source=part,
            re_ids=integers(part.rows[key], part.row, key),
            columns={name: part.rows[name] for name in names},
        )


def _index_columns(schema: pa.Schema) -> set[str]:
    """Index columns of pandas, which are no features."""
    named = (schema.pandas_metadata or {}).get("index_columns", [])
    unnamed = filter(_UNNAMED_INDEX.fullmatch, schema.names)
    return {*unnamed, *(name for name in named if isinstance(name, str))}
