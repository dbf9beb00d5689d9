"""The batches of a training step: rows from the order, features from the data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.dataset.sequences import Batch, SequenceDataset
from model.training.distributed import World
from model.training.order import Order

if TYPE_CHECKING:
    from model.params import TrainingParams


@dataclass(frozen=True)
class TrainingBatches:
    """The micro-batches of any step, for one process, determined by the step's number.

    Attributes:
        order: which rows make which step.
        dataset: gives rows.
        params: of the training.
        seed: of the extra negatives.
        world: of processes.
    """

    order: Order
    dataset: SequenceDataset
    params: "TrainingParams"
    seed: int
    world: World

    def __call__(self, step: int) -> list[Batch]:
        """``accumulation_steps`` batches on the world's device, some possibly without rows."""
        pieces = self.params.accumulation_steps
        shares = self.order.share(step, self.world.rank, self.world.size, pieces)
        stream = 0 if self.params.loss.cross_rank_negatives else self.world.rank
        # Gathered negatives are the same in all processes. + 1, as numpy takes the seed
        # (seed, step, 0) for (seed, step), which is that of an epoch's order.
        generator = np.random.default_rng((self.seed, step, stream + 1))
        batches = []
        for users in shares:
            windows = self.dataset.training_windows(users)
            extra = self.extra_items(generator)
            batches.append(self.dataset.assemble(windows, extra_items=extra).to(self.world.device))
        return batches

    def extra_items(self, generator: np.random.Generator) -> np.ndarray | None:
        """(N,) int64 ids of a micro-batch's negatives besides its own items, None for none."""
        num_items = self.dataset.interactions.num_known_items
        if self.params.loss.negatives == "full_catalogue":
            return np.arange(1, num_items + 1)
        wanted = self.params.loss.num_uniform_negatives
        return generator.integers(1, num_items + 1, wanted) if wanted else None
