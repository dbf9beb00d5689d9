"""Which rows make which step: decided by the seed and the step's number alone.

Nothing has to be replayed to resume in the middle of an epoch, and the rows of a step are the same
for any number of processes: each takes its share of them.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Order:
    """A permutation of the rows per epoch, cut into steps.

    Attributes:
        users: (N,) int64 users with a training row.
        batch_size: rows of a step over all processes; the last step of an epoch may be smaller.
        epochs: passes over all rows; a fraction is a part of an epoch.
        seed: of the permutations.
    """

    users: np.ndarray
    batch_size: int
    epochs: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return max(1, math.ceil(len(self.users) / self.batch_size))

    @property
    def num_steps(self) -> int:
        steps = self.epochs * self.steps_per_epoch
        return max(1, math.ceil(round(steps, 6)))  # 2.2 * 50 is a little more than 110

    def rows(self, step: int) -> np.ndarray:
        """(up to batch_size,) int64 users of a step, 0-based."""
        epoch, place = divmod(step, self.steps_per_epoch)
        shuffled = _permutation(len(self.users), self.seed, epoch)
        begin = place * self.batch_size
        return self.users[shuffled[begin : begin + self.batch_size]]

    def share(self, step: int, rank: int, world_size: int, pieces: int) -> list[np.ndarray]:
        """The rows of one process, in ``pieces`` micro-batches (some may be empty).

        A micro-batch over all processes has the rows that it has with one process; otherwise the
        negatives would depend on the number of processes.
        """
        rows = self.rows(step)
        places = np.array_split(np.arange(len(rows)), pieces)
        return [rows[piece[piece % world_size == rank]] for piece in places]


@lru_cache(maxsize=2)
def _permutation(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_rows)
