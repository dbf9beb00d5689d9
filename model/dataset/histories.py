"""What every reader returns: the users' whole histories, before anything is held out.

Events are appended to unlinked temporary files as they are read, so that a billion of them need
no memory; the result is memory-mapped. At 13 bytes per event, the files belong on the disk of the
output, not on a small temporary one.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa

from model.artifact import disk_filled_up, require_free_space
from model.dataset.arrow import compute as pc
from model.dataset.csr import offsets_of, positions_of
from model.dataset.features import FeatureTable
from model.dataset.interactions import CONVERSION, EVENT_BYTES, EXPOSURE
from model.errors import InputError, is_disk_full

logger = logging.getLogger("onepiece")

MAX_SECONDS = 100_000_000_000  # the year 5138; milliseconds of any year since 1973 lie above
_USERS_PER_CHUNK = 100_000


@dataclass(frozen=True)
class Histories:
    """An :class:`~model.dataset.interactions.Interactions` without its split; same meanings."""

    offsets: np.ndarray
    item_ids: np.ndarray
    action_types: np.ndarray
    timestamps: np.ndarray
    target_actions: np.ndarray
    candidate_item_ids: np.ndarray
    num_known_items: int
    items: FeatureTable
    users: FeatureTable
    raw_item_ids: pa.LargeStringArray
    raw_user_ids: pa.LargeStringArray


class EventLog:
    """Append-only log of events, user after user, in temporary files."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir())
        # Unlinked; they exist as long as the arrays that map them.
        self._files: dict[str, IO[bytes]] = {
            name: tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
            for name in _EVENT_DTYPES
        }
        self._lengths: list[np.ndarray] = []

    def append(
        self,
        *,
        lengths: np.ndarray,
        item_ids: np.ndarray,
        action_types: np.ndarray,
        timestamps: np.ndarray,
    ) -> None:
        """Add users: (N,) numbers of events, and the events of all of them, flat.

        Raises:
            InputError: not enough space, with the needed and the free bytes.
        """
        needed = len(item_ids) * EVENT_BYTES
        require_free_space(self.folder, needed, what="the next piece of the events")
        self._lengths.append(lengths.astype(np.int64, copy=False))
        columns = {"item_ids": item_ids, "action_types": action_types, "timestamps": timestamps}
        for name, values in columns.items():
            if len(values):
                flat = np.ascontiguousarray(values, dtype=_EVENT_DTYPES[name])
                self._write(self._files[name], flat)

    def _write(self, file: IO[bytes], values: np.ndarray) -> None:
        """Write and flush, so that a full disk is noticed here."""
        try:
            file.write(values.data.cast("B"))
            file.flush()
        except OSError as error:
            if is_disk_full(error):
                what = f"{self.folder}: {values.nbytes:,} bytes of the events"
                raise disk_filled_up(what, self.folder) from error
            raise

    def finish(self) -> dict[str, np.ndarray]:
        """All events, in the order of their users.

        Returns:
            ``offsets`` (N + 1,) int64; ``item_ids`` int32, ``action_types`` int8 and
            ``timestamps`` int64 (E,) each, memory-mapped.
        """
        lengths = np.concatenate(self._lengths) if self._lengths else np.empty(0, np.int64)
        return {"offsets": offsets_of(lengths)} | {
            name: _mapped(file, _EVENT_DTYPES[name]) for name, file in self._files.items()
        }

    @classmethod
    def reordered(cls, events: dict[str, np.ndarray], order: np.ndarray, folder: Path) -> Self:
        """The same users in another order.

        Raises:
            InputError: ``folder`` has no room for all events once more.
        """
        needed = len(events["item_ids"]) * EVENT_BYTES
        require_free_space(folder, needed, what="all events in order of their users")
        log = cls(folder)
        starts, lengths = events["offsets"][:-1], np.diff(events["offsets"])
        for first in range(0, len(order), _USERS_PER_CHUNK):
            users = order[first : first + _USERS_PER_CHUNK]
            positions = positions_of(starts[users], lengths[users])
            columns: dict[str, Any] = {name: events[name][positions] for name in _EVENT_DTYPES}
            log.append(lengths=lengths[users], **columns)
        return log


_EVENT_DTYPES = {"item_ids": np.int32, "action_types": np.int8, "timestamps": np.int64}


def _mapped(file: IO[bytes], dtype: type) -> np.ndarray:
    if file.tell() == 0:
        return np.empty(0, dtype)
    return np.memmap(file, dtype, mode="r")  # pyright: ignore[reportCallIssue, reportArgumentType]


def refuse_first(bad: np.ndarray, describe: Callable[[int], str]) -> None:
    """Refuse if any entry is true.

    Args:
        bad: (N,) bool.
        describe: index of an entry -> the message.

    Raises:
        InputError: describes the first true entry.
    """
    if bad.any():
        raise InputError(describe(int(bad.argmax())))


def check_events(
    *,
    lengths: np.ndarray,
    item_ids: np.ndarray,
    action_types: np.ndarray,
    timestamps: np.ndarray,
    num_items: int,
    where: Callable[[int], str],
) -> None:
    """Refuse invalid histories.

    Args:
        lengths: (N,) events per user.
        item_ids: (E,) of these users, flat; 1..num_items.
        action_types: (E,) exposure, click or conversion.
        timestamps: (E,) unix seconds, ascending within a user.
        num_items: the largest item id that any table knows.
        where: names the file and row of the user at a position.

    Raises:
        InputError: an empty history, an unknown item, an unknown action, a time that is not in
            seconds or earlier than the one before it.
    """
    offsets = offsets_of(lengths)

    def event(index: int) -> str:
        row = int(np.searchsorted(offsets, index, side="right")) - 1
        return f"{where(row)}, event {index - offsets[row]}"

    refuse_first(
        lengths == 0,
        lambda row: f"{where(row)}: the sequence is empty; remove the user or add its events",
    )
    refuse_first(
        (item_ids < 1) | (item_ids > num_items),
        lambda index: (
            f"{event(index)}: item_id {item_ids[index]} is in no table (known are 1 to "
            f"{num_items}); the sequences and indexer.pkl must come from the same release"
        ),
    )
    refuse_first(
        (action_types < EXPOSURE) | (action_types > CONVERSION),
        lambda index: (
            f"{event(index)}: action_type {action_types[index]} is not 0 (exposure), 1 (click) "
            "or 2 (conversion); correct it or leave it null"
        ),
    )
    check_times(timestamps, event)
    _check_order(timestamps, offsets, event)


def _check_order(timestamps: np.ndarray, offsets: np.ndarray, event: Callable[[int], str]) -> None:
    earlier = np.zeros(len(timestamps), bool)
    earlier[1:] = np.diff(timestamps) < 0
    earlier[offsets[:-1]] = False  # no history is empty: each has a first event
    refuse_first(
        earlier,
        lambda index: (
            f"{event(index)}: timestamp {timestamps[index]} is earlier than the one before it "
            f"({timestamps[index - 1]}); sort every user's events by time"
        ),
    )


def check_times(timestamps: np.ndarray, where: Callable[[int], str]) -> None:
    """Refuse times that are not unix seconds.

    Args:
        timestamps: (E,) int64 or float64.
        where: names the file and row of the event at a position.

    Raises:
        InputError: negative, or so large that it must be milliseconds or finer.
    """
    refuse_first(
        (timestamps < 0) | (timestamps > MAX_SECONDS),
        lambda index: (
            f"{where(index)}: timestamp {timestamps[index]:.0f} is not in unix seconds "
            f"({'before 1970' if timestamps[index] < 0 else 'milliseconds?'}); convert the column "
            "to seconds"
        ),
    )


def warn_if_all_cold(source: Path, candidates: pa.Array, known: pa.Array) -> None:
    """Warn if candidates and items have no raw id in common, as if from two data sets.

    Args:
        source: of the candidates.
        candidates: raw ids, at least one.
        known: raw ids of the items.
    """
    if len(known) and not pc.any(pc.is_in(candidates, value_set=known)).as_py():
        logger.warning(
            "%s: all candidates are cold: none of their %d ids, such as %s, is an item of the data,"
            " such as %s",
            source,
            len(candidates),
            candidates[0],
            known[0],
        )
