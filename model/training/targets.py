"""A check that there is anything to learn: a training target whose action has a weight."""

from collections.abc import Sequence

import numpy as np

from model.dataset.csr import positions_of
from model.dataset.sequences import SequenceDataset
from model.errors import InputError

USERS_AT_ONCE = 16_384


def require_weighted_target(
    dataset: SequenceDataset, action_weights: Sequence[float], key: str
) -> None:
    """Refuse a training whose loss would be 0 from the first step to the last.

    Stops reading at the first target that counts.

    Args:
        dataset: gives the training rows.
        action_weights: of an exposure, a click, a conversion as a target.
        key: where they stand in the parameter file.

    Raises:
        InputError: no target of a training row has a weight above 0.
    """
    counts = np.asarray(action_weights, np.float32) > 0  # as the loss holds them
    users = dataset.training_users()
    met: set[int] = set()
    for first in range(0, len(users), USERS_AT_ONCE):
        rows = dataset.training_windows(users[first : first + USERS_AT_ONCE])
        targets = positions_of(rows.begins, rows.ends - rows.begins + 1)
        actions = np.unique(dataset.interactions.action_types[targets])
        if counts[actions].any():
            return
        met.update(actions.tolist())
    raise InputError(
        f"{key} {list(action_weights)} gives no weight to the actions of the training targets "
        f"(only {sorted(met)} occur, of 0 exposure, 1 click, 2 conversion); give one of them a "
        "weight above 0"
    )
