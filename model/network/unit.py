"""Unit vectors, for cosines."""

from torch import Tensor
from torch.nn import functional as F


def unit(vectors: Tensor) -> Tensor:
    """L2-normalise (..., D), in float32; zero vectors stay zero."""
    return F.normalize(vectors.float(), dim=-1)
