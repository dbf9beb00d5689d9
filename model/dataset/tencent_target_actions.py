"""``user_action_type.json``: which action a submission is asked for, where the input says so."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from model.artifact import read_json
from model.dataset.arrow import compute as pc
from model.dataset.interactions import CLICK, CONVERSION
from model.errors import InputError

FILE = "user_action_type.json"
UNKNOWN = -1


def read_target_actions(root: Path, raw_user_ids: pa.LargeStringArray) -> np.ndarray:
    """(num_users,) int8 click or conversion, -1 where the file is missing or silent.

    Raises:
        InputError: not a JSON object of raw user id to 1 or 2.
    """
    path = root / FILE
    targets = np.full(len(raw_user_ids), UNKNOWN, np.int8)
    if not path.is_file():
        return targets
    actions = read_json(path, remedy="get it again")
    if not isinstance(actions, dict):
        raise InputError(f"{path}: must be an object of raw user id to action type; get it again")
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
    keys = pa.array(actions.keys(), pa.large_string())
    found = pc.index_in(raw_user_ids, value_set=keys)
    known = pc.is_valid(found).to_numpy(zero_copy_only=False)
    values = np.fromiter(actions.values(), np.int8, len(actions))
    targets[known] = values[found.drop_null().to_numpy(zero_copy_only=False)]
    return targets
