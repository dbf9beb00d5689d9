"""Items in clusters and users beside them: enough of both for an index to miss some."""

import torch
from torch.nn import functional as F

from model.inference.filters import Seen
from model.inference.search import ExactSearch

NUM_ITEMS, DIM = 3000, 16


def clustered_items() -> ExactSearch:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, DIM, generator=generator)
    noise = torch.randn(NUM_ITEMS, DIM, generator=generator)
    vectors = F.normalize(centres[torch.arange(NUM_ITEMS) % 40] + 0.5 * noise, dim=-1)
    return ExactSearch(vectors, 0.05 * torch.randn(NUM_ITEMS, generator=generator))


def users_near(items: ExactSearch) -> torch.Tensor:
    """(100, DIM) vectors."""
    generator = torch.Generator().manual_seed(1)
    noise = 0.3 * torch.randn(100, DIM, generator=generator)
    return F.normalize(items.vectors[:100] + noise, dim=-1)


def seen_some() -> Seen:
    return Seen(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 40, 2, 42, 82]), NUM_ITEMS)
