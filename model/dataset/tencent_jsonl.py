"""TencentGR's competition layout: JSON lines and pickles.

seq.jsonl             a list per user of [user, item, user_feat, item_feat, action, time];
one record is the profile (no item), the others are events
seq_offsets.pkl       where each line begins (checked where it is there)
item_feat_dict.json   {re-id: {feature: code or codes}}
indexer.pkl           raw ids and vocabularies
predict_set.jsonl     candidates (all known items where it is not there)
user_action_type.json which action a user is asked for (optional)
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.histories import EventLog, Histories, check_events, refuse_first
from model.dataset.interactions import EXPOSURE
from model.dataset.json_candidates import read_json_candidates
from model.dataset.json_files import (
    JsonLines,
    feature_columns,
    read_json_features,
    read_lines,
    whole_numbers,
)
from model.dataset.parquet_files import integers
from model.dataset.raw_files import is_there
from model.dataset.restricted_pickle import load_pickle
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

SEQUENCES, OFFSETS = "seq.jsonl", "seq_offsets.pkl"
ITEM_FEATURES, CANDIDATES = "item_feat_dict.json", "predict_set.jsonl"
_LINES_PER_PART = 4096
_FIELDS = 6  # of a record


def read_tencent_jsonl(root: Path, spool: Path | None = None) -> Histories:
    """Read the whole layout; users are those of ``seq.jsonl`` in order of their re-ids.

    Args:
        root: folder of the release.
        spool: folder of the events' temporary files; the machine's temporary one by default.

    Raises:
        InputError: anything missing, damaged or invalid, with file, line and remedy.
    """
    indexer = read_indexer(root)
    sequences, profiles = _read_sequences(root, indexer, spool)
    path = root / CANDIDATES
    return assemble(
        root,
        indexer,
        sequences,
        read_json_candidates(path) if is_there(path) else None,
        item_rows=read_json_features(root / ITEM_FEATURES),
        user_rows=profiles,
    )


def _read_sequences(
    root: Path, indexer: Indexer, spool: Path | None
) -> tuple[Sequences, list[FeatureRows]]:
    """Events, and the profile records as rows of the user table."""
    path = root / SEQUENCES
    log, users, profiles, starts, unknown_actions = EventLog(spool), [], [], [], 0
    parts = read_lines(path, _LINES_PER_PART)
    for part in track(parts, total=None, what="reading sequences", unit="part"):
        records = _Records.of(part)
        check_re_ids(records.user_ids, "user_id", len(indexer.raw_user_ids), part.row)
        check_events(
            lengths=records.lengths,
            **records.events,
            num_items=indexer.num_items,
            where=records.where,
        )
        log.append(lengths=records.lengths, **records.events)
        users.append(records.user_ids)
        profiles.append(records.profiles)
        starts.append(part.starts)
        unknown_actions += records.unknown_actions
    if unknown_actions:
        logger.info("%d events without action_type are treated as exposures", unknown_actions)
    _check_offsets(root, np.concatenate(starts))
    return in_user_order(path, users, log), profiles


def _check_offsets(root: Path, starts: np.ndarray) -> None:
    path = root / OFFSETS
    if not is_there(path):
        return
    offsets = load_pickle(path)
    found = offsets.tolist() if isinstance(offsets, np.ndarray) else offsets
    if found != starts.tolist():
        raise InputError(
            f"{path}: the offsets are not where the lines of {SEQUENCES} begin ({len(starts)} "
            "lines); both files must come from the same release, or remove the offsets"
        )


@dataclass(frozen=True)
class _Records:
    """The parsed lines of one part: users, their events and their profiles."""

    part: JsonLines
    user_ids: np.ndarray
    lengths: np.ndarray
    events: dict[str, np.ndarray]
    profiles: FeatureRows
    unknown_actions: int

    @classmethod
    def of(cls, part: JsonLines) -> "_Records":
        flat, owner = _flatten(part)
        user, item, profile, _, action, time = zip(*flat, strict=True)

        def where(index: int) -> str:
            return part.row(owner[index])

        items = whole_numbers(item, "item_id", where)
        is_event = items.is_valid().to_numpy(zero_copy_only=False)
        user_ids = _one_user_per_line(whole_numbers(user, "user_id", where), owner, where)
        actions = whole_numbers(action, "action_type", where).filter(pa.array(is_event))
        times = whole_numbers(time, "timestamp", where)
        events = np.flatnonzero(is_event)
        _refuse_broken(flat, is_event, where)
        with_profile = np.flatnonzero([isinstance(value, dict) for value in profile])
        return cls(
            part=part,
            user_ids=user_ids,
            lengths=np.bincount(owner[is_event], minlength=len(part.values)),
            events={
                "item_ids": items.drop_null().to_numpy(zero_copy_only=False),
                "action_types": pc.fill_null(actions, EXPOSURE).to_numpy(zero_copy_only=False),
                "timestamps": integers(
                    times.filter(pa.array(is_event)),
                    lambda index: where(int(events[index])),
                    "timestamp",
                ),
            },
            profiles=FeatureRows(
                source=part.of_rows(owner[with_profile]),
                re_ids=user_ids[owner[with_profile]],
                columns=feature_columns(
                    [profile[index] for index in with_profile],
                    lambda index: where(int(with_profile[index])),
                ),
            ),
            unknown_actions=actions.null_count,
        )

    def where(self, row: int) -> str:
        return f"{self.part.row(row)} (user_id {self.user_ids[row]})"


def _flatten(part: JsonLines) -> tuple[list[list[Any]], np.ndarray]:
    """All records, and (records,) the line of each."""
    refuse_first(
        np.array([type(line) is not list or {*map(type, line)} != {list} for line in part.values]),
        lambda row: f"{part.row(row)}: must be a list of records, each a list; get the file again",
    )
    flat = [record for line in part.values for record in line]
    owner = np.repeat(np.arange(len(part.values)), [len(line) for line in part.values])
    refuse_first(
        np.fromiter(map(len, flat), np.int64, len(flat)) != _FIELDS,
        lambda index: (
            f"{part.row(owner[index])}: a record has {len(flat[index])} fields, not {_FIELDS}; "
            "get the file again"
        ),
    )
    return flat, owner


def _refuse_broken(
    flat: list[list[Any]], is_event: np.ndarray, where: Callable[[int], str]
) -> None:
    """Refuse a record without an item that is no profile, and features that are no object."""
    refuse_first(
        np.array([record[3] is not None or record[4] is not None for record in flat]) & ~is_event,
        lambda index: f"{where(index)}: item_id is null; every event needs one",
    )
    refuse_first(
        np.array([type(record[2]) not in (dict, type(None)) for record in flat]),
        lambda index: (
            f"{where(index)}: the user's features are {flat[index][2]!r}, which is no object; get "
            "the file again"
        ),
    )


def _one_user_per_line(
    users: pa.Array, owner: np.ndarray, where: Callable[[int], str]
) -> np.ndarray:
    """(lines,) int64 user of every line, which must be the same in all its records."""
    values = integers(users, where, "user_id")
    first = values[np.searchsorted(owner, np.arange(owner[-1] + 1))]
    refuse_first(
        values != first[owner],
        lambda index: (
            f"{where(index)}: records of users {first[owner[index]]} and {values[index]} are in "
            "one line; every line must be one user's"
        ),
    )
    return first
