"""Vectors of length 1 and their gradient."""

import torch
from torch.nn import functional as F

from model.network.unit import unit


def test_a_vector_of_zeros_stays_and_gets_no_gradient():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]], requires_grad=True)
    weights = torch.tensor([[1.0, -2.0], [5.0, 7.0], [0.5, 3.0]])
    made = unit(vectors)
    (made * weights).sum().backward()

    others = vectors[[0, 2]].detach().requires_grad_()
    (F.normalize(others, dim=-1) * weights[[0, 2]]).sum().backward()
    assert made.tolist() == [[0.6000000238418579, 0.800000011920929], [0.0, 0.0], [0.0, -1.0]]
    assert not vectors.grad[1].any()
    assert torch.equal(vectors.grad[[0, 2]], others.grad)
