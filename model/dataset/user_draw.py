"""A seeded draw of users by their ids."""

import numpy as np
import pyarrow as pa
from pandas.util import hash_array

_AT_ONCE = 1_000_000  # ids that are Python objects at a time


def draw_users(raw_user_ids: pa.Array, share: float, seed: int) -> np.ndarray:
    """(U,) bool, drawn by the seed and each user's own id alone.

    The next delivery may then bring its users in another order, or others among them: who validated
    still does, and no champion has trained on the targets that it is measured by.

    Args:
        raw_user_ids: (U,) large_string.
        share: above 0, at most 1; smaller shares of one seed are subsets of larger ones.
        seed: of the draw.
    """
    key = f"{seed % 2**64:016x}"
    drawn = np.empty(len(raw_user_ids), bool)
    for first in range(0, len(drawn), _AT_ONCE):
        ids = raw_user_ids.slice(first, _AT_ONCE).to_numpy(zero_copy_only=False)
        hashes = hash_array(ids, hash_key=key, categorize=False)  # pyright: ignore[reportCallIssue]
        drawn[first : first + len(ids)] = (hashes >> np.uint64(11)) * 2.0**-53 < share
    return drawn
