"""``user_action_type.json``: the action that a submission is asked for, by user; optional."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.interactions import CLICK, CONVERSION
from model.dataset.raw_files import is_there, readable
from model.errors import InputError

FILE = "user_action_type.json"
UNKNOWN = -1


def read_target_actions(root: Path, raw_user_ids: pa.LargeStringArray) -> np.ndarray:
    """(num_users,) int8 click or conversion, -1 where the file does not say.

    Keys that are no user are ignored.

    Raises:
        InputError: not a JSON object of raw user id to 1 or 2, or not one of its keys is a user.
    """
    path = root / FILE
    targets = np.full(len(raw_user_ids), UNKNOWN, np.int8)
    if not is_there(path):
        return targets
    actions = _read(path)
    if not actions:
        return targets
    keys = _keys(path, actions)
    wrong = next(
        (
            key
            for key, value in actions.items()
            if type(value) is not int or value not in (CLICK, CONVERSION)
        ),
        None,
    )
    if wrong is not None:
        raise InputError(
            f"{path}: user {wrong} has action type {actions[wrong]!r}; it must be 1 (click) or 2 "
            "(conversion)"
        )
    found = pc.index_in(raw_user_ids, value_set=keys)
    known = pc.is_valid(found).to_numpy(zero_copy_only=False)
    if len(targets) and not known.any():
        raise InputError(
            f"{path}: none of its {len(keys):,} keys, such as '{keys[0]}', is a user of the "
            f"sequences, such as '{raw_user_ids[0]}'; write raw user ids, or remove the file"
        )
    values = np.fromiter(actions.values(), np.int8, len(actions))
    targets[known] = values[found.drop_null().to_numpy(zero_copy_only=False)]
    return targets


def _read(path: Path) -> dict[str, Any]:
    try:
        with readable(path):
            actions = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); get it again") from None
    if not isinstance(actions, dict):
        raise InputError(f"{path}: must be an object of raw user id to action type; get it again")
    return actions


def _keys(path: Path, actions: dict[str, Any]) -> pa.LargeStringArray:
    try:
        return pa.array(actions.keys(), pa.large_string())
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: key {error.object!r} is not text in Unicode; it must be a raw user id"
        ) from None
