"""The store: every event in CSR form, item and user features, raw ids; all memory-mapped.

Items are numbered 1..num_items: first those of the training vocabulary (1..num_known_items), then
candidates that it lacks ("cold"). Users are numbered 0..num_users-1 in the order of the input. The
events of user ``u`` are ``offsets[u]:offsets[u + 1]``, ascending in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from model.artifact import NOT_FOUND, atomic_folder, open_array, read_json, write_json
from model.dataset.arrow import compute as pc
from model.dataset.features import FeatureTable
from model.errors import InputError

EXPOSURE, CLICK, CONVERSION = 0, 1, 2
EVENT_BYTES = 4 + 1 + 8


@dataclass(frozen=True)
class Interactions:
    """All events, with the users and items that they refer to.

    Attributes:
        offsets: (num_users + 1,) int64, where each user's events begin.
        item_ids: (num_events,) int32, 1..num_items.
        action_types: (num_events,) int8, EXPOSURE, CLICK or CONVERSION.
        timestamps: (num_events,) int64, unix seconds; ascending within a user.
        train_end: (num_users,) int64, index of the first event that is not training data.
        validation_event: (num_users,) int64, index of the validation target, -1 where none.
        test_event: (num_users,) int64, index of the test target, -1 where none.
            train_end <= validation_event < test_event where they exist. The history of a target is
            every event of the user before it.
        target_actions: (num_users,) int8, the action that the input asks a submission for, -1
            where it names none.
        candidate_item_ids: (num_candidates,) int32 ascending, the items that may be recommended.
        num_known_items: items of the training vocabulary; larger ids are cold candidates.
        items: features, num_items + 1 rows (row 0 padding).
        users: features, num_users + 1 rows (row 0 padding: user u is row u + 1).
        raw_item_ids: (num_items,) string, the input's id of item i at i - 1.
        raw_user_ids: (num_users,) string.
    """

    offsets: np.ndarray
    item_ids: np.ndarray
    action_types: np.ndarray
    timestamps: np.ndarray
    train_end: np.ndarray
    validation_event: np.ndarray
    test_event: np.ndarray
    target_actions: np.ndarray
    candidate_item_ids: np.ndarray
    num_known_items: int
    items: FeatureTable
    users: FeatureTable
    raw_item_ids: pa.StringArray | pa.LargeStringArray
    raw_user_ids: pa.StringArray | pa.LargeStringArray

    @property
    def num_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_items(self) -> int:
        return self.items.num_rows - 1

    @property
    def num_events(self) -> int:
        return len(self.item_ids)

    def save(self, folder: Path) -> None:
        """Write all columns; the folder appears whole or not at all."""
        needed = self.num_events * EVENT_BYTES + self.num_users * 50 + self.num_items * 80
        with atomic_folder(folder, needed_bytes=needed) as out:
            for name in _ARRAYS:
                np.save(out / f"{name}.npy", getattr(self, name))
            write_strings(out / "raw_item_ids.arrow", self.raw_item_ids)
            write_strings(out / "raw_user_ids.arrow", self.raw_user_ids)
            for name, table in (("items", self.items), ("users", self.users)):
                (out / name).mkdir()
                table.write(out / name)
            write_json(out / "interactions.json", {"num_known_items": self.num_known_items})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the store: memory-maps only, milliseconds at any size."""
        folder = Path(folder)
        facts = read_json(folder / "interactions.json")
        arrays = {name: open_array(folder / f"{name}.npy") for name in _ARRAYS}
        return cls(
            **arrays,
            num_known_items=facts["num_known_items"],
            items=FeatureTable.read(folder / "items"),
            users=FeatureTable.read(folder / "users"),
            raw_item_ids=_read_strings(folder / "raw_item_ids.arrow"),
            raw_user_ids=_read_strings(folder / "raw_user_ids.arrow"),
        )


_ARRAYS = (
    "offsets",
    "item_ids",
    "action_types",
    "timestamps",
    "train_end",
    "validation_event",
    "test_event",
    "target_actions",
    "candidate_item_ids",
)


def items_named(interactions: Interactions, raw_ids: Sequence[str]) -> np.ndarray:
    """The items of raw ids, found in one pass over all of them, without a table of these.

    Args:
        interactions: know the raw ids.
        raw_ids: (N,) in any order, also repeatedly.

    Returns:
        (N,) int64 item ids, 0 for what this data has not.
    """
    known = interactions.raw_item_ids
    wanted = pa.array(list(raw_ids), known.type)
    items = np.flatnonzero(pc.is_in(known, value_set=wanted)) + 1
    found = pc.index_in(wanted, value_set=known.take(pa.array(items - 1)))
    places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return np.append(items, 0)[places]  # -1 is the 0 in the end


def write_strings(path: Path, values: pa.Array) -> None:
    """Write raw ids as an Arrow file, to be memory-mapped."""
    table = pa.table({"raw_id": values.cast(pa.large_string())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read_strings(path: Path) -> pa.LargeStringArray:
    try:
        with pa.memory_map(str(path)) as source:
            column = pa.ipc.open_file(source).read_all()["raw_id"]
    except FileNotFoundError:
        raise InputError(f"{path}: {NOT_FOUND}") from None
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        raise InputError(f"{path}: truncated ({error}); materialise it again") from None
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
