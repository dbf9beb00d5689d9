"""Three users and seven items: small enough to read every history."""

import numpy as np
import pyarrow as pa

from model.dataset.features import FeatureTable, ScalarColumns
from model.dataset.interactions import Interactions


def small_interactions() -> Interactions:
    """User 0: 1 2 3 | 4 | 5; user 1: 2 2 | 6; user 2: 3, without a target.

    Bars stand before the validation and test targets; items 2 to 7 are candidates, 7 is cold.
    """
    num_items = 7
    items = FeatureTable(
        num_rows=num_items + 1,
        scalars=ScalarColumns(["102"], np.array([0, 1, 1, 2, 2, 3, 3, 0], np.int32)[:, None]),
        arrays={},
        vocabulary_sizes={"102": 3},
    )
    return Interactions(
        offsets=np.array([0, 5, 8, 9]),
        item_ids=np.array([1, 2, 3, 4, 5, 2, 2, 6, 3], np.int32),
        action_types=np.array([0, 1, 0, 1, 1, 1, 0, 2, 0], np.int8),
        timestamps=np.arange(9) * 86_400 + 1_740_000_000,
        train_end=np.array([3, 7, 9]),
        validation_event=np.array([3, -1, -1]),
        test_event=np.array([4, 7, -1]),
        target_actions=np.array([-1, 1, 2], np.int8),
        candidate_item_ids=np.arange(2, 8, dtype=np.int32),
        num_known_items=6,
        items=items,
        users=FeatureTable.without_features(3),
        raw_item_ids=pa.array([str(20 + item) for item in range(1, 8)], pa.large_string()),
        raw_user_ids=pa.array(["u0", "u1", "u2"], pa.large_string()),
    )
