"""The chunked loss against torch's own on the whole matrix of logits."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.network import losses
from model.network.losses import inclusion_log_probability, linear_cross_entropy
from tests.model.simulated_gpu import simulated_gpu


def _inputs(n=37, m=23, d=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, requires_grad=True)
    weight = torch.randn(m, d, generator=generator, requires_grad=True)
    bias = torch.randn(m, generator=generator, requires_grad=True)
    labels = torch.randint(0, m, (n,), generator=generator)
    return x, weight, bias, labels, torch.rand(n, generator=generator)


@pytest.mark.parametrize("at_once", [100, 7])  # four rows; less than a row: one all the same
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_cross_entropy_in_small_pieces(monkeypatch, at_once, smoothing, with_bias):
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", {"cpu": at_once})
    x, weight, bias, labels, row_weights = _inputs()
    given = [x, weight, bias] if with_bias else [x, weight]
    made = linear_cross_entropy(
        x, weight, bias if with_bias else None, labels, row_weights, label_smoothing=smoothing
    )
    logits = x @ weight.T + (bias if with_bias else 0.0)
    rows = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    expected = (rows * row_weights).sum()
    assert torch.allclose(made, expected, rtol=1e-5)
    for one, other in zip(
        torch.autograd.grad(3 * made, given), torch.autograd.grad(3 * expected, given), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_row_that_weighs_nothing_changes_nothing():
    x, weight, bias, labels, row_weights = _inputs()
    row_weights[5] = 0.0
    first = linear_cross_entropy(x, weight, bias, labels, row_weights)
    labels[5] = (labels[5] + 1) % len(weight)
    assert torch.equal(first, linear_cross_entropy(x, weight, bias, labels, row_weights))


def test_logits_are_float32_under_autocast():
    x, weight, bias, labels, row_weights = _inputs()
    whole = linear_cross_entropy(x, weight, bias, labels, row_weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(whole, linear_cross_entropy(x, weight, bias, labels, row_weights))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one")
@pytest.mark.parametrize(("lowered", "precision"), [(True, "high"), (False, "highest")])
def test_a_gpu_uses_its_tensor_cores_where_the_layers_do(monkeypatch, lowered, precision):
    found = []
    usual = losses._cross_entropy

    def noted(*args):
        found.append(torch.get_float32_matmul_precision())
        return usual(*args)

    monkeypatch.setattr(losses, "_cross_entropy", noted)
    expected = linear_cross_entropy(*_inputs())
    with simulated_gpu() as device:
        given = [tensor.detach().to(device) for tensor in _inputs()]
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=lowered):
            made = linear_cross_entropy(*given)
    assert found == ["highest", precision]
    assert torch.get_float32_matmul_precision() == "highest"
    assert made.dtype == torch.float32
    assert made.item() == pytest.approx(expected.item())


def test_inclusion_is_the_frequency_of_being_drawn_at_least_once():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(12, 0.5))
    drawn = rng.choice(12, (4000, 9), p=shares)
    uniform = rng.integers(0, 12, (4000, 3))
    both = np.concatenate([drawn, uniform], axis=1)
    frequency = [(both == item).any(axis=1).mean() for item in range(12)]
    log_q = torch.from_numpy(np.log(shares)).float()
    estimated = inclusion_log_probability(log_q, 9, num_uniform=3, num_items=12).exp()
    assert np.allclose(estimated, frequency, atol=0.03)


def test_for_rare_items_the_correction_is_log_q_and_a_constant():
    log_q = torch.tensor([-12.0, -13.0, -15.0])
    corrected = inclusion_log_probability(log_q, 50, num_uniform=0, num_items=100)
    assert torch.allclose(corrected - log_q, torch.full((3,), np.log(50)), atol=1e-3)
