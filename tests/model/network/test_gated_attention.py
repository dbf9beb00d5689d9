"""The fused middle of an HSTU layer against the same steps one by one."""

import pytest
import torch
from torch import Tensor

from model.network.attention_plan import plan_attention
from model.network.backend import use_backend
from model.network.gated_attention import gated_attention

HEADS, DIM, NUM_BUCKETS = 2, 40, 30


def leaves(dtype: torch.dtype, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Offsets, timestamps and all that has a gradient."""
    generator = torch.Generator().manual_seed(2)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = int(offsets[-1])
    timestamps = torch.randint(0, 10**6, (tokens,), generator=generator)
    shapes = [(tokens, 4 * DIM), (9, HEADS), (NUM_BUCKETS, HEADS), (DIM,), (DIM,)]
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return offsets, timestamps, [x.to(dtype).requires_grad_() for x in drawn]


def results(backend, dtype, *, norm: bool, lengths: tuple[int, ...] = (40, 1, 0, 17)):
    """Output and gradients."""
    offsets, timestamps, (uvqk, position, time, weight, bias) = leaves(dtype, lengths)
    own = (weight, bias) if norm else (None, None)
    with use_backend(backend):
        plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
        args = (uvqk, plan, position, time, *own)
        out = gated_attention(*args, num_heads=HEADS, scale=0.3, eps=1e-6)
    wanted = (uvqk, position, time, *(x for x in own if x is not None))
    return out, *torch.autograd.grad(out, wanted, out.detach().cos())


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_fused_is_the_same_step_by_step(norm: bool, dtype: torch.dtype, tolerance: float):
    slow, fast = (results(backend, dtype, norm=norm) for backend in ("reference", "numba"))
    for x, y in zip(slow, fast, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=tolerance * float(x.detach().abs().max()))


def test_empty_batch():
    out, *grads = results("numba", torch.float32, norm=True, lengths=(0,))
    assert out.shape == (0, DIM)
    assert all(grad.abs().sum() == 0 for grad in grads)


def test_bytes_do_not_depend_on_threads():
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(results("numba", torch.float32, norm=True))
    torch.set_num_threads(before)
    for one, two in zip(*runs, strict=True):
        assert torch.equal(one, two)


def test_little_is_kept_for_backward():
    offsets, timestamps, (uvqk, position, time, weight, bias) = leaves(torch.float32, (300,))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
    with use_backend("numba"), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        args = (uvqk, plan, position, time, weight, bias)
        gated_attention(*args, num_heads=HEADS, scale=0.3, eps=1e-6)
    assert sum(kept.values()) < 1.3 * uvqk.untyped_storage().nbytes()
