"""Vectors for cosines."""

import torch
from torch import Tensor
from torch.nn import functional as F


def unit(vectors: Tensor) -> Tensor:
    """(..., D) -> (..., D) float32: vectors of length 1; of zeros where they are zero.

    A vector of zeros has no direction and gets no gradient. The quotient's own would be divided by
    next to nothing: where users have no features, the state before their first event is zero in the
    first step, and its gradient was the whole of that step.
    """
    vectors = vectors.float()
    vectors = torch.where((vectors != 0).any(-1, keepdim=True), vectors, vectors.detach())
    return F.normalize(vectors, dim=-1)
