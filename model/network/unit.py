"""Vectors for cosines."""

from torch import Tensor
from torch.nn import functional as F


def unit(vectors: Tensor) -> Tensor:
    """Rows of length 1 in float32."""
    return F.normalize(vectors.float(), dim=-1)
