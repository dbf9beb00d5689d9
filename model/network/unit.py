"""Vectors for cosines."""

from torch import Tensor
from torch.nn import functional as F


def unit(vectors: Tensor) -> Tensor:
    """(..., D) -> (..., D) float32: vectors of length 1; of zeros where they are zero."""
    return F.normalize(vectors.float(), dim=-1)
