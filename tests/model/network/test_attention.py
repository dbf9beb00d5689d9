"""The fast attention against the dense one, which is read against the formula itself."""

import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.errors import InputError
from model.network.attention import hstu_attention
from model.network.attention_plan import (
    AttentionPlan,
    bucket_thresholds,
    plan_attention,
    time_buckets,
)
from model.network.backend import use_backend

Batch = tuple[list[int], int, int]  # rows' lengths, heads, size of each
BATCHES: dict[str, Batch] = {
    "equal rows": ([21] * 5, 2, 32),
    "one long row among short ones": ([1, 5, 0, 300, 17, 1], 2, 24),
    "whole blocks and wide heads": ([16, 32, 8, 33], 2, 64),
    "one row": ([7], 1, 8),
    "rows of one": ([1, 1, 1], 3, 33),
    "more rows than lots": ([3, 1, 2] * 40, 2, 8),
    "nothing": ([0, 0], 2, 16),
}
NUM_BUCKETS = 60


def inputs(lengths: list[int], heads: int, size: int, dtype: torch.dtype, *, positions: int = 50):
    """Offsets, timestamps, (T, 3, H, E) queries, keys and values, and both biases."""
    generator = torch.Generator().manual_seed(1)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = int(offsets[-1])
    timestamps = torch.randint(0, 10**8, (tokens,), generator=generator)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    qkv = random(tokens, 3, heads, size)
    return offsets, timestamps, qkv, random(positions, heads), random(NUM_BUCKETS, heads)


def gradients(backend, offsets, timestamps, qkv, *biases: Tensor | None) -> list[Tensor]:
    """Output and the gradients of all that has one, for some gradient of the output."""
    leaves = [x.clone().requires_grad_() for x in (qkv, *(b for b in biases if b is not None))]
    rest = iter(leaves[1:])
    position, time = (b if b is None else next(rest) for b in biases)
    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
    with use_backend(backend):
        q, k, v = leaves[0].unbind(1)
        out = hstu_attention(q, k, v, plan, position, time, scale=0.3)
    slope = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape).cos()
    out.backward(slope)
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def assert_agree(one: list[Tensor], other: list[Tensor], tolerance: float) -> None:
    for x, y in zip(one, other, strict=True):
        scale = float(x.abs().max()) if x.numel() else 1.0
        torch.testing.assert_close(x, y, rtol=0, atol=tolerance * max(scale, 1e-30))


def test_reference_is_the_formula():
    offsets, timestamps, qkv, position, time = inputs([3, 2], 2, 4, torch.float64, positions=2)
    q, k, v = qkv.unbind(1)
    expected = torch.zeros_like(q)
    for begin, end in ((0, 3), (3, 5)):
        for i in range(begin, end):
            for j in range(begin, i + 1):
                seconds = max(int(timestamps[i] - timestamps[j]), 1)
                bucket = min(math.floor(math.log(seconds) / 0.301), NUM_BUCKETS - 1)
                x = (q[i] * k[j]).sum(-1) * 0.3 + position[min(i - j, 1)] + time[bucket]
                expected[i] += (x * torch.sigmoid(x))[:, None] * v[j]
    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
    with use_backend("reference"):
        out = hstu_attention(q, k, v, plan, position, time, scale=0.3)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("with_position", [True, False])
@pytest.mark.parametrize("with_time", [True, False])
def test_numba_agrees_with_reference(batch: Batch, with_position: bool, with_time: bool):
    offsets, timestamps, qkv, position, time = inputs(*batch, torch.float64)
    biases = (position if with_position else None, time if with_time else None)
    slow, fast = (
        gradients(backend, offsets, timestamps, qkv, *biases) for backend in ("reference", "numba")
    )
    assert_agree(slow, fast, 1e-13)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_numba_agrees_in_single_precision(batch: Batch):
    args = inputs(*batch, torch.float32)
    assert_agree(gradients("reference", *args), gradients("numba", *args), 1e-5)


def at_the_edges_of_buckets() -> tuple[Tensor, ...]:
    """One row whose first token is as far from the others as the thresholds, or a second off."""
    edges = bucket_thresholds(NUM_BUCKETS)
    after = torch.cat([edges - 1, edges, edges + 1, 2 ** torch.arange(3, 45, 3)]).unique()
    offsets, _, *rest = inputs([len(after)], 1, 16, torch.float64)
    return offsets, 1_700_000_000 + after, *rest


INTERPRETED = """
import torch
from tests.model.network.test_attention import (
    BATCHES, assert_agree, at_the_edges_of_buckets, gradients, inputs
)

args = at_the_edges_of_buckets()
assert_agree(gradients("reference", *args), gradients("triton", *args), 1e-13)
for batch in ("equal rows", "rows of one", "more rows than lots"):
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        print(batch, dtype, flush=True)
        args = inputs(*BATCHES[batch], dtype)
        assert_agree(gradients("reference", *args), gradients("triton", *args), tolerance)
"""


@pytest.mark.skipif(not find_spec("triton"), reason="needs triton")
def test_interpreted_triton_agrees_with_reference():
    """In a process of its own: triton asks for the variable when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not find_spec("triton"), reason="needs triton")
@pytest.mark.parametrize("size", [64, 256, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_asks_for_no_more_than_a_gpu_has(size: int, dtype: torch.dtype):
    """65,535 programs along the second axis; of shared memory 227 KiB, five tiles and loads."""
    from model.network import attention_triton

    q = torch.empty(1, 16, size, dtype=dtype)
    plan = AttentionPlan(torch.zeros(8_193, dtype=torch.int64), None, 1, 1, max_length=65_536)
    assert attention_triton._grid(plan, q)[1] <= 65_535
    chosen = attention_triton._constants(plan, q, None)
    tile = chosen["BLOCK"] * chosen["ROOM"] * q.element_size()
    assert (2 + 2 * chosen["num_stages"]) * tile < 227 * 1024


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)],
)
def test_triton_agrees_with_reference(batch: Batch, dtype: torch.dtype, tolerance: float):
    args = [x.cuda() for x in inputs(*batch, dtype)]
    exact = [x.double() if x.is_floating_point() else x for x in args]
    fast = [x.double() for x in gradients("triton", *args)]
    assert_agree(gradients("reference", *exact), fast, tolerance)


def test_numerical_gradients():
    offsets, timestamps, qkv, position, time = inputs([4, 1, 3], 2, 5, torch.float64, positions=3)
    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
    leaves = [x.contiguous().requires_grad_() for x in (*qkv.unbind(1), position, time)]

    def attend(q, k, v, position, time):
        return hstu_attention(q, k, v, plan, position, time, scale=0.3)

    with use_backend("numba"):
        assert torch.autograd.gradcheck(attend, leaves)


def test_queries_of_another_source():
    offsets, timestamps, qkv, position, time = inputs([9, 4], 2, 16, torch.float64)
    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)
    queries = torch.randn(13, 16, 2, dtype=torch.float64).transpose(1, 2)  # no unit stride
    outs = []
    for backend in ("reference", "numba"):
        with use_backend(backend):
            args = (queries, qkv[:, 1], qkv[:, 2], plan, position, time)
            outs.append(hstu_attention(*args, scale=0.3))
    torch.testing.assert_close(*outs)


def test_bytes_do_not_depend_on_threads():
    args = inputs([40, 3, 77, 1, 19] * 3, 3, 16, torch.float32)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(gradients("numba", *args))
    torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_sixteen_bits_are_added_up_in_thirty_two():
    offsets, timestamps, qkv, position, time = inputs([60, 5], 2, 32, torch.bfloat16)
    args = (offsets, timestamps, qkv, position.float(), time.float())
    exact = (offsets, timestamps, qkv.double(), position.double(), time.double())
    out = gradients("numba", *args)[0]
    assert out.dtype == torch.bfloat16
    assert_agree(gradients("reference", *exact)[:1], [out.double()], 2**-8)


def test_not_a_number_is_not_lost():
    offsets, timestamps, qkv, position, time = inputs([20], 1, 16, torch.float32)
    qkv[10, 1] = math.nan
    out = gradients("numba", offsets, timestamps, qkv, position, time)[0]
    assert torch.isfinite(out[:10]).all()
    assert torch.isnan(out[10:]).all()


def test_buckets_begin_at_their_thresholds():
    seconds = torch.cat([torch.arange(-2, 5000), torch.logspace(3, 12, 5000).long()])
    thresholds = bucket_thresholds(100)
    near = torch.cat([seconds, thresholds, thresholds - 1, thresholds + 1])
    found = torch.searchsorted(thresholds, near.clamp(min=1), right=True) - 1
    assert torch.equal(found, time_buckets(near, 100))


def test_buckets_of_the_triangle():
    offsets, timestamps, *_ = inputs([4, 0, 3], 1, 1, torch.float32)
    plan = plan_attention(offsets, timestamps, 20)
    expected = [
        time_buckets(timestamps[i] - timestamps[j], 20)
        for begin, end in ((0, 4), (4, 7))
        for i in range(begin, end)
        for j in range(begin, i + 1)
    ]
    assert plan.triangle_buckets.tolist() == torch.stack(expected).tolist()


def test_bad_input_is_named():
    offsets, timestamps, qkv, position, time = inputs([4, 3], 2, 8, torch.float32)
    q, k, v = qkv.unbind(1)
    with pytest.raises(InputError, match="6 timestamps for 7 tokens"):
        plan_attention(offsets, timestamps[1:], NUM_BUCKETS)
    plan = plan_attention(offsets, None, NUM_BUCKETS)
    with pytest.raises(InputError, match="needs timestamps"):
        hstu_attention(q, k, v, plan, position, time, scale=1.0)
    with pytest.raises(InputError, match="6 queries"):
        hstu_attention(q[1:], k, v, plan, position, None, scale=1.0)
    plan = plan_attention(offsets, timestamps, 3)
    with pytest.raises(InputError, match="60 rows"):
        hstu_attention(q, k, v, plan, position, time, scale=1.0)
