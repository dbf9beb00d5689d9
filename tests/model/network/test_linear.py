"""Linear layers by tiles against PyTorch's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.network import linear as linear_module
from model.network.backend import use_backend
from model.network.linear import Linear, linear
from model.network.linear_cpu import tiled_linear

IN, OUT = 128, 256
Operation = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def results(operation: Operation, tokens: int, dtype: torch.dtype, *, bias: bool) -> list[Tensor]:
    """Output and gradients."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(tokens, OUT), (tokens, IN), (OUT, IN), *([(OUT,)] if bias else [])]
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    slope, x, weight, *rest = (number.to(dtype).requires_grad_() for number in drawn)
    out = operation(x, weight, rest[0] if rest else None)
    return [out, *torch.autograd.grad(out, (x, weight, *rest), slope.detach())]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [1, 7, 300, 1031])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_tiles_give_what_pytorch_gives(tokens, bias, dtype, tolerance):
    slow, fast = (results(way, tokens, dtype, bias=bias) for way in (F.linear, tiled_linear))
    for x, y in zip(slow, fast, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=tolerance * float(x.detach().abs().max()))


def test_a_token_does_not_depend_on_its_batch():
    x, weight = torch.randn(1000, IN), torch.randn(OUT, IN)
    together = tiled_linear(x, weight, None)
    assert torch.equal(together[417:430], tiled_linear(x[417:430], weight, None))


def test_bytes_do_not_depend_on_threads():
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        runs.append(results(tiled_linear, 1031, torch.float32, bias=True))
    torch.set_num_threads(before)
    for one, *others in zip(*runs, strict=True):
        assert all(torch.equal(one, other) for other in others)


def test_only_what_is_asked_for_has_a_gradient():
    x, weight = torch.randn(300, IN), torch.randn(OUT, IN, requires_grad=True)
    tiled_linear(x, weight, None).sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    frozen = x.clone().requires_grad_()
    tiled_linear(frozen, weight.detach(), None).sum().backward()
    assert frozen.grad is not None


def test_views_and_more_dimensions():
    layer = Linear(IN, OUT)
    x = torch.randn(2000, 2, 2 * IN)[..., ::2].transpose(0, 1)
    with use_backend("reference"):
        expected = layer(x)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_a_gradient_that_is_one_number_spread_out():
    layer = Linear(IN, OUT)
    layer(torch.randn(4000, IN)).sum().backward()  # its gradient has strides of 0
    assert layer.bias.grad is not None
    assert torch.equal(layer.bias.grad, torch.full((OUT,), 4000.0))


def test_not_a_number_stays_one():
    x = torch.randn(300, IN)
    x[17, 3], x[18, 4] = torch.nan, torch.inf
    out = tiled_linear(x, torch.randn(OUT, IN), None)
    assert out[17].isnan().all()
    assert not out[18].isfinite().any()
    assert out[19:].isfinite().all()


@pytest.mark.parametrize(
    ("tokens", "shape", "dtype", "tiled"),
    [
        (3000, (256, 128), torch.float32, True),
        (3000, (256, 128), torch.bfloat16, False),
        (9000, (256, 64), torch.float32, False),  # narrow
        (3000, (200, 128), torch.float32, False),  # not whole panels
        (1000, (256, 128), torch.float32, False),  # small
    ],
)
def test_tiles_where_they_pay(monkeypatch, tokens, shape, dtype, tiled):
    seen = []
    real = linear_module.backend_for
    monkeypatch.setattr(linear_module, "backend_for", lambda x: seen.append(x) or real(x))
    out = linear(torch.randn(tokens, shape[1], dtype=dtype), torch.randn(*shape, dtype=dtype))
    assert out.shape == (tokens, shape[0])
    assert bool(seen) == tiled


def test_state_is_that_of_any_linear_layer():
    assert set(Linear(IN, OUT).state_dict()) == {"weight", "bias"}
