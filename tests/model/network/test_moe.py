"""The mixture of experts against a loop over experts, and its balance over time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from model.network import experts, experts_cpu
from model.network.balance import TARGET_GINI
from model.network.experts_cpu import tiled_experts
from model.network.moe import SparseMoE, SwiGLU
from model.network.routing import (
    choose,
    gate_logits,
    gate_scores,
    sort_by_expert,
)
from tests.model.network.moe_oracle import moe_reference, swiglu_reference


def make(
    gate="softmax", *, top_k=3, num_experts=8, shared=1, loss=0.1, step=0.0, dim=16, hidden=24
) -> SparseMoE:
    torch.manual_seed(0)
    moe = SparseMoE(dim, hidden, num_experts, top_k, shared, gate, loss, step).double()
    nn.init.normal_(moe.expert_bias, std=0.05)
    return moe


def tokens(lengths=(5, 1, 17, 30), dim=16) -> tuple[torch.Tensor, torch.Tensor, int]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(sum(lengths), dim, generator=generator, dtype=torch.float64)
    rows = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return x.requires_grad_(), rows, len(lengths)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"top_k": 1},
        {"top_k": 8},  # all experts
        {"num_experts": 200},  # most are idle
        {"shared": 0},
        {"shared": 2},
        {"loss": 0.0},
    ],
)
def test_equals_a_loop_over_experts_with_all_gradients(gate, shape):
    moe = make(gate, **shape)
    x, rows, num_rows = tokens()
    direction = torch.randn(x.shape, dtype=x.dtype)
    results = []
    for call in (moe, lambda *given: moe_reference(moe, *given)):
        out, loss, *loads = call(x, rows, num_rows)
        inputs = [x, *moe.parameters()]
        results.append((out, loss, torch.autograd.grad((out * direction).sum() + loss, inputs)))
        for expected in loads:
            assert torch.equal(moe.load, expected)
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_the_gate_learns_from_the_loss_of_the_task_alone(gate, top_k):
    moe = make(gate, top_k=top_k, loss=0.0)
    out, _ = moe(*tokens())
    slope = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((out * slope).sum(), moe.gate)
    assert (gradient.abs().amax(dim=1) > 1e-3).all()


def test_the_grouped_products_of_gpus_equal_the_segments_of_cpus():
    torch.manual_seed(3)
    x, w1, w2 = torch.randn(90, 16), torch.randn(12, 48, 16) * 0.2, torch.randn(12, 16, 24) * 0.2
    gate, direction = torch.randn(12, 16), torch.randn(90, 16)
    gate[5] = -100 * x.mean(0)  # an expert that nobody chooses
    results = []
    for form in (experts.grouped_experts, experts.segment_experts):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, w1, w2, gate)]
        logits = gate_logits(inputs[0], inputs[3])
        chosen, weights = choose(logits, gate_scores(logits, "sigmoid"), torch.zeros(12), 3)
        out = form(*inputs[:3], sort_by_expert(chosen, weights, 12))
        results.append((out, torch.autograd.grad((out * direction).sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def routed(form, dtype: torch.dtype, *, num_experts: int, top_k: int, num_tokens: int):
    """Output and gradients of 32-wide experts of which one is idle and one has many tokens."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(num_tokens, 32), (num_experts, 128, 32), (num_experts, 32, 64), (num_experts, 32)]
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    drawn[0][:, 0] = 1.0
    drawn[3][:2, 0] = torch.tensor([-100.0, 12.0], dtype=torch.float64)
    x, w1, w2, gate = (tensor.to(dtype).requires_grad_() for tensor in drawn)
    logits = gate_logits(x, gate)
    scores = gate_scores(logits, "sigmoid")
    chosen, weights = choose(logits, scores, torch.zeros(num_experts), top_k)
    routing = sort_by_expert(chosen, weights.detach() * 0.7, num_experts)
    routing.weights.requires_grad_()
    out = form(x, w1, w2, routing)
    slope = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(dtype)
    return out, *torch.autograd.grad(out, (x, w1, w2, routing.weights), slope)


@pytest.mark.parametrize(("num_experts", "top_k", "num_tokens"), [(12, 3, 90), (5, 1, 1500)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_tiles_equal_the_segments(num_experts, top_k, num_tokens, dtype, tolerance):
    size = {"num_experts": num_experts, "top_k": top_k, "num_tokens": num_tokens}
    slow, fast = (routed(form, dtype, **size) for form in (experts.segment_experts, tiled_experts))
    assert not fast[2][0].any()  # nobody chose it
    for x, y in zip(slow, fast, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=tolerance * float(x.detach().abs().max()))


def test_bytes_of_the_tiles_do_not_depend_on_threads():
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        size = {"num_experts": 7, "top_k": 2, "num_tokens": 700}
        runs.append(routed(tiled_experts, torch.float32, **size))
    torch.set_num_threads(before)
    for one, *others in zip(*runs, strict=True):
        assert all(torch.equal(one, other) for other in others)


def test_tiles_of_no_tokens():
    out, *grads = routed(tiled_experts, torch.float32, num_experts=4, top_k=2, num_tokens=0)
    assert out.shape == (0, 32)
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize(("dim", "tiled"), [(128, True), (96, False)])
def test_wide_experts_are_computed_by_tiles(monkeypatch, dim: int, tiled: bool):
    seen = []
    monkeypatch.setattr(experts_cpu, "tiled_experts", lambda *args: seen.append(1) or args[0])
    SparseMoE(dim, 128, 4, 2, 0, "softmax", 0.0, 0.0)(
        torch.randn(5, dim), torch.zeros(5, dtype=torch.int64), 1
    )
    assert bool(seen) == tiled


@pytest.mark.parametrize("shape", [{"dim": 16}, {"dim": 128, "hidden": 128}])
def test_cpu_autocast_leaves_the_experts_in_fp32(shape):
    moe = make(**shape).float().eval()
    x, rows, num_rows = tokens(dim=shape["dim"])
    x = x.detach().float()
    expected = moe(x, rows, num_rows)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = moe(x, rows, num_rows)[0]
        out.sum().backward()
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)
    assert moe.w1.grad is not None and moe.w1.grad.dtype == torch.float32


def test_no_tokens_give_no_output_and_zero_gradients():
    moe = make()
    out, loss = moe(torch.zeros(0, 16, dtype=torch.float64), torch.zeros(0, dtype=torch.int64), 1)
    (out.sum() + loss).backward()
    assert out.shape == (0, 16)
    assert not moe.w1.grad.any()


def test_an_even_sequence_has_the_balance_loss_of_its_weight():
    moe = make(num_experts=4, top_k=1, loss=0.25, dim=4)
    moe.expert_bias.zero_()
    with torch.no_grad():
        moe.gate.copy_(100.0 * torch.eye(4, dtype=torch.float64))
    even = torch.eye(4, dtype=torch.float64).repeat(5, 1)
    rows = torch.zeros(20, dtype=torch.int64)
    torch.testing.assert_close(moe(even, rows, 1)[1].item(), 0.25)
    uneven = even[:1].expand(20, -1)  # all to one: as many times as there are experts
    torch.testing.assert_close(moe(uneven, rows, 1)[1].item(), 1.0)


def test_the_result_of_a_token_does_not_depend_on_its_neighbours():
    moe = make().eval()
    x, rows, num_rows = tokens()
    whole = moe(x, rows, num_rows)[0]
    alone = moe(x[7:9], torch.zeros(2, dtype=torch.int64), 1)[0]
    torch.testing.assert_close(alone, whole[7:9])


def test_loads_add_up_over_micro_batches_and_only_in_training():
    moe = make()
    x, rows, num_rows = tokens()
    moe(x, rows, num_rows)
    moe.eval()
    assert moe(x, rows, num_rows)[1] == 0
    moe.train()
    moe(x, rows, num_rows)
    assert moe.load.sum() == 2 * 3 * len(x)
    moe.end_step()
    assert moe.last_load.sum() == 2 * 3 * len(x)
    assert not moe.load.any()


def test_gini_of_known_loads():
    moe = make(num_experts=4)
    assert moe.gini() == 0.0  # before any step
    moe.last_load.fill_(7)
    assert moe.gini() == 0.0
    moe.last_load.copy_(torch.tensor([0, 0, 12, 0]))
    torch.testing.assert_close(moe.gini(), torch.tensor(0.75))
    moe.last_load.copy_(torch.tensor([3, 1, 4, 2]))
    torch.testing.assert_close(moe.gini(), torch.tensor(0.25))


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("num_experts", "top_k"), [(8, 2), (64, 3)])
@pytest.mark.parametrize("skew", [0.0, 2.0])
def test_the_bias_holds_the_loads_of_a_random_gate_at_the_target(gate, num_experts, top_k, skew):
    moe = make(gate, num_experts=num_experts, top_k=top_k, step=0.3, loss=0.0).float()
    moe.expert_bias.zero_()
    generator = torch.Generator().manual_seed(2)
    # common to all tokens: some experts are favourites
    offset = skew * torch.randn(16, generator=generator)
    rows = torch.zeros(2048, dtype=torch.int64)
    ginis = []
    with torch.no_grad():
        for _ in range(100):
            moe(torch.randn(2048, 16, generator=generator) + offset, rows, 1)
            moe.end_step()
            ginis.append(moe.gini().item())
    assert all(0.05 <= gini <= 0.4 for gini in ginis)
    assert sum(ginis[-20:]) / 20 == pytest.approx(TARGET_GINI, abs=0.02)
    assert moe.expert_bias.mean().abs() < 1e-6
    assert moe.expert_bias.abs().max() < 10.0


@pytest.mark.parametrize(("num_experts", "top_k"), [(8, 7), (32, 30), (5, 5)])
def test_the_bias_starves_no_expert_where_nearly_all_answer(num_experts, top_k):
    moe = make("softmax", num_experts=num_experts, top_k=top_k, step=0.3, loss=0.0).float()
    generator = torch.Generator().manual_seed(3)
    rows = torch.zeros(512, dtype=torch.int64)
    with torch.no_grad():
        for _ in range(150):
            moe(torch.randn(512, 16, generator=generator), rows, 1)
            moe.end_step()
    assert moe.gini() < (1 - top_k / num_experts) * 0.7 + 1e-6
    assert moe.last_load.min() > 0.1 * 512 * top_k / num_experts


def test_the_bias_is_saved_and_the_counters_are_not():
    names = set(make().state_dict())
    assert "expert_bias" in names
    assert not names & {"load", "last_load"}


def test_experts_start_with_the_spread_of_one_expert():
    moe = SparseMoE(64, 32, 128, 2, 0, "softmax", 0.0, 0.0)
    torch.testing.assert_close(moe.w1.std().item(), 64**-0.5, rtol=0.02, atol=0)
    torch.testing.assert_close(moe.w2.std().item(), 32**-0.5, rtol=0.02, atol=0)


def test_swiglu_equals_its_formula():
    torch.manual_seed(0)
    layer = SwiGLU(8, 12).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), swiglu_reference(x, layer.w1, layer.w2))
    assert F.linear(x, layer.w1).shape == (5, 24)


def _with_favourites() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Tokens that crowd a few experts."""
    x, rows, num_rows = tokens()
    return x + 2.0, rows, num_rows


def _count_on_two_ranks(rank: int, address: str, results: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    moe = make(step=0.01)
    x, rows, num_rows = _with_favourites()
    half = slice(0, 20) if rank == 0 else slice(20, None)
    moe(x[half], rows[half], num_rows)
    moe.end_step()
    torch.save((moe.expert_bias, moe.last_load), f"{results}{rank}")
    torch.distributed.destroy_process_group()


def test_two_ranks_move_the_bias_like_one(tmp_path):
    address, results = f"file://{tmp_path / 'store'}", str(tmp_path / "rank")
    torch.multiprocessing.spawn(_count_on_two_ranks, (address, results), nprocs=2)
    moe = make(step=0.01)
    before = moe.expert_bias.clone()
    moe(*_with_favourites())
    moe.end_step()
    assert (moe.expert_bias - before).abs().max() > 0.1  # held, not only moved by a step
    for rank in range(2):
        bias, load = torch.load(f"{results}{rank}", weights_only=True)
        assert torch.equal(load, moe.last_load)
        torch.testing.assert_close(bias, moe.expert_bias)
