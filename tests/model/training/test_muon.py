"""Muon: one matrix at a time, with a singular value decomposition beside it."""

import pytest
import torch
from torch import Tensor, nn

from model.training import muon as module
from model.training.muon import Muon, orthogonalize


def reference_step(
    weight: Tensor, grads: list[Tensor], lr: float, momentum: float, decay: float
) -> Tensor:
    """As published, for one matrix."""
    average = torch.zeros_like(weight)
    for grad in grads:
        average = momentum * average + (1 - momentum) * grad
        update = (1 - momentum) * grad + momentum * average
        x = update.t() if update.shape[0] > update.shape[1] else update
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            gram = x @ x.t()
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        x = x.t() if update.shape[0] > update.shape[1] else x
        scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        weight = weight * (1 - lr * decay) - lr * scale * x
    return weight


def make(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.stack([make(*shape, seed=seed) for seed in range(4)])
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    result = orthogonalize(matrices)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3 and values.max() < 1.3  # the small ones of a square matrix lag
    closest = left @ right
    alike = (result * closest).sum((1, 2)) / (result.norm(dim=(1, 2)) * closest.norm(dim=(1, 2)))
    assert alike.min() > 0.97


def test_a_zero_matrix_stays_zero():
    assert not orthogonalize(torch.zeros(2, 4, 6)).any()


@pytest.mark.parametrize("at_once", [1, 300, 1 << 26])
def test_every_stacked_matrix_is_stepped_on_its_own(monkeypatch, at_once):
    monkeypatch.setattr(module, "ELEMENTS_AT_ONCE", at_once)
    shapes = {  # name -> shape, blocks along the rows
        "square": ((12, 12), 1),
        "stack": ((48, 12), 4),  # four that are batched with the one above
        "tall": ((24, 12), 1),
        "expert_stacks": ((3, 24, 12), 2),
        "expert_wide": ((3, 12, 16), 1),
    }
    weights = {name: make(*shape, seed=1) for name, (shape, _) in shapes.items()}
    grads = {
        name: [make(*shape, seed=2 + step) for step in range(3)]
        for name, (shape, _) in shapes.items()
    }
    parameters = {
        name: (nn.Parameter(weights[name].clone()), blocks) for name, (_, blocks) in shapes.items()
    }
    muon = Muon(parameters, momentum=0.95, weight_decay=0.1)
    for step in range(3):
        for name, (parameter, _) in parameters.items():
            parameter.grad = grads[name][step].clone()
        muon.step(0.02, {})
    for name, (parameter, blocks) in parameters.items():
        columns = parameter.shape[-1]
        height = parameter.shape[-2] // blocks
        starts = weights[name].reshape(-1, height, columns)
        pushes = [grad.reshape(-1, height, columns) for grad in grads[name]]
        expected = [
            reference_step(start, [push[place] for push in pushes], 0.02, 0.95, 0.1)
            for place, start in enumerate(starts)
        ]
        torch.testing.assert_close(
            parameter.detach().reshape(-1, height, columns), torch.stack(expected)
        )


def test_a_parameter_without_gradient_is_left_alone():
    one, two = nn.Parameter(make(4, 4, seed=1)), nn.Parameter(make(4, 4, seed=1))
    muon = Muon({"one": (one, 1), "two": (two, 1)}, momentum=0.95, weight_decay=0.1)
    one.grad = make(4, 4, seed=2)
    muon.step(0.1, {})
    assert torch.equal(two, make(4, 4, seed=1))
    assert not torch.equal(one, two)


def test_the_gradient_itself_is_not_changed():
    parameter = nn.Parameter(make(4, 4, seed=1))
    parameter.grad = make(4, 4, seed=2)
    Muon({"w": (parameter, 1)}, momentum=0.95, weight_decay=0.0).step(0.1, {})
    assert torch.equal(parameter.grad, make(4, 4, seed=2))


@pytest.mark.parametrize(("shape", "blocks"), [((5,), 1), ((10, 4), 3), ((2, 2, 2, 2), 1)])
def test_what_is_no_stack_of_matrices_is_refused(shape, blocks):
    with pytest.raises(ValueError, match="w of shape"):
        Muon({"w": (nn.Parameter(torch.zeros(shape)), blocks)}, momentum=0.95, weight_decay=0.0)
