"""A skip connection from the newest items to the output, past all layers.

The query is compared with item vectors by cosine, so that the vectors of a user's latest items are
a good first guess of it: "more of the same". Layers would have to learn that through rectified
inputs and random projections; this sum provides it from the first step, and they learn the rest.
Not in the paper; ``history_skip: 0`` is the paper's form.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.dataset.sequences import Batch
from model.network.unit import unit

INITIAL_DECAY = 0.7


class HistorySkip(nn.Module):
    """A weighted sum of the newest items' unit vectors, one weight per age and dimension."""

    def __init__(self, num_items: int, dim: int) -> None:
        """Initialise weights that decay by ``INITIAL_DECAY`` from one item to the one before it."""
        super().__init__()
        ages = INITIAL_DECAY ** torch.arange(num_items)
        self.weights = nn.Parameter(ages[:, None].repeat(1, dim))

    def forward(self, item_vectors: Tensor, batch: Batch) -> Tensor:
        """(T, dim) for every token, over its own and earlier items; zeros for a user token.

        Args:
            item_vectors: (U, dim) of the batch's distinct items.
            batch: the rows.
        """
        vectors = F.embedding(batch.token_items, unit(item_vectors))
        vectors = vectors.index_fill(0, batch.offsets[:-1], 0.0) * math.sqrt(vectors.shape[1])
        place = torch.arange(len(vectors), device=vectors.device) - batch.offsets[batch.rows]
        total = vectors * self.weights[0]
        for age in range(1, min(len(self.weights), len(vectors))):
            inside = (place[age:] >= age)[:, None]
            older = vectors[:-age] * self.weights[age] * inside
            total = total + F.pad(older, (0, 0, age, 0))
        return total
