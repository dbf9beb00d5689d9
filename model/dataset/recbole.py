"""RecBole atomic files: ``<name>.inter``, and ``.item``, ``.user``, ``.candidate`` if there.

``.inter`` has user_id, item_id and timestamp, and may have ``action_type`` (0..2) or ``label``
(0 or 1); without either every event is a click. ``.candidate`` lists what may be recommended; an
item that ``.item`` lacks is cold, and its features may be given there. Without it, all may be.

Item ids are independent of the raw ids' order: they follow a fixed hash. Order of first appearance
or of the digits would leak information to a model (or a tie-break).
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
from pandas.util import hash_array

from model.dataset.arrow import compute as pc
from model.dataset.atomic_features import build_features
from model.dataset.atomic_file import FLOAT, TOKEN, AtomicFile, read_atomic_file
from model.dataset.histories import (
    EventLog,
    Histories,
    check_times,
    refuse_first,
    warn_if_all_cold,
)
from model.dataset.interactions import CLICK, CONVERSION, EXPOSURE
from model.dataset.raw_files import files_named
from model.errors import InputError

logger = logging.getLogger("onepiece")

_HASH_KEY = "onepiece item id"  # 16 bytes
_DECADES = 20 * 365 * 86_400


def read_recbole(root: Path, spool: Path | None = None) -> Histories:
    """Read the atomic files of one data set.

    Users are in order of ``.user``, or else of first appearance in ``.inter``; events in order of
    time, those of equal time as in the file.

    Args:
        root: folder of the files.
        spool: folder of the events' temporary files; the machine's temporary one by default.

    Raises:
        InputError: anything missing, damaged or invalid, with file, line and remedy.
    """
    inter = read_atomic_file(_only(root, "inter"), ("user_id", "item_id", "timestamp"))
    item_file = _optional(root, "item", "item_id")
    user_file = _optional(root, "user", "user_id")
    candidate_file = _optional(root, "candidate", "item_id")
    known, cold = _items(inter, item_file, candidate_file)
    raw_item_ids = pa.concat_arrays([known, cold])
    raw_user_ids = _users(inter, user_file)
    user_index = _lookup(inter, "user_id", raw_user_ids, user_file)
    item_ids = _lookup(inter, "item_id", known, item_file) + 1
    events = _events(inter, user_index, item_ids, len(raw_user_ids), spool)
    return Histories(
        **events,
        target_actions=np.full(len(raw_user_ids), -1, np.int8),
        candidate_item_ids=_candidates(candidate_file, raw_item_ids),
        num_known_items=len(known),
        items=build_features(item_file, candidate_file, "item_id", raw_item_ids),
        users=build_features(user_file, None, "user_id", raw_user_ids),
        raw_item_ids=raw_item_ids,
        raw_user_ids=raw_user_ids,
    )


def in_hashed_order(raw_ids: pa.Array) -> pa.Array:
    """Distinct ids in an order that carries no information."""
    ids = pc.unique(raw_ids)
    values = ids.to_numpy(zero_copy_only=False).astype(object)
    hashes = hash_array(values, hash_key=_HASH_KEY, categorize=False)  # pyright: ignore[reportCallIssue]
    ranks = pc.rank(ids, sort_keys="ascending", tiebreaker="dense").to_numpy()
    return ids.take(pa.array(np.lexsort([ranks, hashes])))


def _only(root: Path, suffix: str) -> Path:
    found = files_named(root, f"<name>.{suffix}")
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"{root}: there must be exactly one file <name>.{suffix} (found: {there}); set "
            "raw_data.source to the folder of one data set"
        )
    return found[0]


def _optional(root: Path, suffix: str, key: str) -> AtomicFile | None:
    if not files_named(root, f"<name>.{suffix}"):
        return None
    file = read_atomic_file(_only(root, suffix), (key,))
    counts = pc.value_counts(file.strings(key))
    repeated = pc.greater(counts.field("counts"), 1)
    if pc.any(repeated).as_py():
        first = counts.field("values").filter(repeated)[0].as_py()
        row = int(pc.index(pc.equal(file.columns[key], first), True).as_py())
        raise InputError(f"{file.line(row)}: {key} {first} occurs more than once; keep one row")
    return file


def _items(
    inter: AtomicFile, item_file: AtomicFile | None, candidate_file: AtomicFile | None
) -> tuple[pa.Array, pa.Array]:
    """Known raw ids in hashed order, and cold candidates in the file's order."""
    source = item_file or inter
    known = in_hashed_order(source.strings("item_id"))
    if candidate_file is None:
        return known, known.slice(0, 0)
    listed = candidate_file.strings("item_id")
    warn_if_all_cold(candidate_file.path, listed, known)
    return known, listed.filter(pc.invert(pc.is_in(listed, value_set=known)))


def _users(inter: AtomicFile, user_file: AtomicFile | None) -> pa.Array:
    if user_file is None:
        return pc.unique(inter.strings("user_id"))
    return user_file.strings("user_id")


def _lookup(inter: AtomicFile, key: str, raw_ids: pa.Array, table: AtomicFile | None) -> np.ndarray:
    """(E,) int64 position of every event's id among the raw ids."""
    column = inter.strings(key)
    found = pc.fill_null(pc.index_in(column, value_set=raw_ids), -1)
    positions = found.to_numpy(zero_copy_only=False).astype(np.int64)
    refuse_first(
        positions < 0,
        lambda row: (
            f"{inter.line(row)}: {key} {column[row]} has no row in "
            f"{table.path.name if table else inter.path.name}; add it or remove the event"
        ),
    )
    return positions


def _events(
    inter: AtomicFile,
    user_index: np.ndarray,
    item_ids: np.ndarray,
    num_users: int,
    spool: Path | None,
) -> dict[str, np.ndarray]:
    """Events by user and time, in CSR form; sorted with fractions of a second, then floored."""
    timestamps, actions = _timestamps(inter), _actions(inter)
    order = np.lexsort([timestamps, user_index])
    log = EventLog(spool)
    log.append(
        lengths=np.bincount(user_index, minlength=num_users),
        item_ids=item_ids[order],
        action_types=actions[order],
        timestamps=np.floor(timestamps[order]).astype(np.int64),
    )
    return log.finish()


def _timestamps(inter: AtomicFile) -> np.ndarray:
    """(E,) float64 unix seconds, with their fractions."""
    if inter.types["timestamp"] != FLOAT:
        raise InputError(
            f"{inter.path} line 1: timestamp must be of type float and is "
            f"{inter.types['timestamp']}; write timestamp:float and unix seconds"
        )
    values = inter.numbers("timestamp")
    refuse_first(
        ~np.isfinite(values),
        lambda row: f"{inter.line(row)}: timestamp is empty or not a number; every event needs one",
    )
    _refuse_cut(inter, values)
    check_times(np.floor(values), inter.line)
    return values


def _refuse_cut(inter: AtomicFile, timestamps: np.ndarray) -> None:
    """Refuse a truncated last line: a timestamp that lost digits is still a number, long ago."""
    before, last = timestamps[:-1], timestamps[-1]
    if inter.ends_in_a_line() or not len(before) or last > before.min() - _DECADES:
        return
    raise InputError(
        f"{inter.line(len(before))}: timestamp {last:.0f} lies before all others by decades, and "
        "the line has no end; the file was cut off there, get it again"
    )


def _actions(inter: AtomicFile) -> np.ndarray:
    """(E,) int8; clicks where the file has neither action_type nor label."""
    name = next((name for name in ("action_type", "label") if name in inter.types), None)
    if name is None:
        logger.info("%s: no action_type, every event is treated as a click", inter.path.name)
        return np.full(inter.num_rows, CLICK, np.int8)
    column = inter.columns[name]
    if inter.types[name] == TOKEN:
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    elif inter.types[name] != FLOAT:
        raise InputError(f"{inter.path} line 1: {name} must be of type token or float")
    try:
        values = column.cast(pa.float64())
    except pa.ArrowInvalid:
        row, cell = _first_non_number(column)
        raise InputError(
            f"{inter.line(row)}: {name} {cell!r} is not a number; it must be 0 (exposure), 1 "
            "(click) or 2 (conversion)"
        ) from None
    if values.null_count:
        logger.info("%d events without %s are treated as exposures", values.null_count, name)
    codes = pc.fill_null(values, EXPOSURE).to_numpy(zero_copy_only=False)
    largest = CONVERSION if name == "action_type" else CLICK
    refuse_first(
        ~np.isin(codes, np.arange(largest + 1)),
        lambda row: (
            f"{inter.line(row)}: {name} {codes[row]:g} is not one of 0 (exposure), 1 (click)"
            f"{', 2 (conversion)' if largest == CONVERSION else ''}; correct it or leave it empty"
        ),
    )
    return codes.astype(np.int8)


def _first_non_number(column: pa.Array) -> tuple[int, str]:
    for row, cell in enumerate(column):
        try:
            cell.cast(pa.float64())
        except pa.ArrowInvalid:
            return row, cell.as_py()
    raise ValueError("all cells are numbers")


def _candidates(candidate_file: AtomicFile | None, raw_item_ids: pa.Array) -> np.ndarray:
    if candidate_file is None:
        return np.arange(1, len(raw_item_ids) + 1, dtype=np.int32)
    found = pc.index_in(candidate_file.strings("item_id"), value_set=raw_item_ids)
    return np.sort(found.to_numpy(zero_copy_only=False)).astype(np.int32) + 1
