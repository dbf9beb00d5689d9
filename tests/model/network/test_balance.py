"""The balance of the experts' loads: its measure, the bias's small steps, and the band it keeps."""

import pytest
import torch

from model.network.balance import (
    TARGET_GINI,
    balancing_step,
    held_bias,
    load_gini,
    reachable_target,
)
from tests.model.simulated_gpu import GpuTensor, simulated_gpu


def skewed_logits(num_tokens: int, num_experts: int, spread: float) -> torch.Tensor:
    """Of a gate with favourites among the experts."""
    generator = torch.Generator().manual_seed(5)
    favourites = spread * torch.randn(num_experts, generator=generator)
    return torch.randn(num_tokens, num_experts, generator=generator) + favourites


def loads_of(logits: torch.Tensor, bias: torch.Tensor, top_k: int) -> torch.Tensor:
    chosen = (logits + bias).topk(top_k, dim=-1).indices.flatten()
    return torch.bincount(chosen, minlength=len(bias))


def held(logits: torch.Tensor, bias: torch.Tensor, top_k: int) -> torch.Tensor:
    """The bias for the first micro-batch of a step."""
    return held_bias(logits, bias, top_k, torch.zeros(len(bias), dtype=torch.int64))


@pytest.mark.parametrize(("loads", "direction"), [([0, 50, 150, 600], -1), ([90, 95, 100, 115], 1)])
def test_the_bias_shrinks_or_widens_the_differences_and_keeps_its_mean(loads, direction):
    loads = torch.tensor(loads)
    bias = torch.tensor([0.3, -0.1, -0.3, 0.1])
    moved = balancing_step(bias, loads, 0.1, TARGET_GINI) - bias
    assert (moved.diff() * direction > 0).all()
    assert moved.mean().abs() < 1e-7
    assert moved.abs().max() < 0.2  # a step and its centring


def test_the_bias_leaves_loads_alone_that_are_even_absent_or_on_target():
    bias = torch.tensor([0.3, -0.1, -0.3, 0.1])
    on_target = torch.tensor([64, 88, 112, 136])
    torch.testing.assert_close(load_gini(on_target), torch.tensor(TARGET_GINI))
    for loads in (torch.full((4,), 7), torch.zeros(4, dtype=torch.int64), on_target):
        torch.testing.assert_close(balancing_step(bias, loads, 0.1, TARGET_GINI), bias)


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("num_tokens", [1500, 9001, 40_000])
@pytest.mark.parametrize(("num_experts", "top_k"), [(2, 1), (8, 2), (8, 7), (64, 3), (64, 8)])
def test_a_batch_of_favourites_gets_a_bias_that_keeps_it_in_the_band(
    num_experts, top_k, num_tokens, spread
):
    logits = skewed_logits(num_tokens, num_experts, spread)
    bias = held(logits, torch.zeros(num_experts), top_k)
    gini = load_gini(loads_of(logits, bias, top_k))
    share = reachable_target(num_experts, top_k) / TARGET_GINI
    assert 0.05 * share <= gini <= 0.4 * share
    assert bias.mean().abs() < 1e-5


def test_experts_all_alike_are_told_apart():
    logits = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1))
    even = torch.zeros(2)
    assert load_gini(loads_of(logits, even, 1)) < 0.05
    assert 0.05 <= load_gini(loads_of(logits, held(logits, even, 1), 1)) <= 0.4


def test_the_bias_stays_as_it_is_within_the_band_and_where_loads_say_little():
    generator = torch.Generator().manual_seed(5)
    bias = 0.3 * torch.randn(8, generator=generator)
    logits = torch.randn(2000, 8, generator=generator)
    assert 0.06 < load_gini(loads_of(logits, bias, 2)) < 0.375
    assert torch.equal(held(logits, bias, 2), bias)
    few = skewed_logits(31, 8, 3.0)  # 62 slots, of 64
    assert load_gini(loads_of(few, bias, 2)) > 0.4
    assert torch.equal(held(few, bias, 2), bias)
    assert not torch.equal(held(skewed_logits(32, 8, 3.0), bias, 2), bias)


def test_the_tokens_looked_at_stand_for_all_places_of_equally_long_rows():
    """Half of the tokens of 4,096 rows are looked at; what the first of a row want is not all."""
    logits = torch.randn(4096, 8, 8, generator=torch.Generator().manual_seed(2))
    logits[:, 0, 0] += 9.0
    logits = logits.reshape(-1, 8)
    bias = held(logits, torch.zeros(8), 2)
    assert 0.05 <= load_gini(loads_of(logits, bias, 2)) <= 0.4


def test_many_experts_of_a_large_batch_are_held_too():
    logits = skewed_logits(20_000, 1024, 1.0)
    assert load_gini(loads_of(logits, torch.zeros(1024), 1)) > 0.4
    bias = held(logits, torch.zeros(1024), 1)
    assert 0.05 <= load_gini(loads_of(logits, bias, 1)) <= 0.4


def test_loads_that_are_exactly_even_are_moved_apart():
    logits = torch.randn(500, 2, generator=torch.Generator().manual_seed(7))
    ascending = (logits[:, 0] - logits[:, 1]).sort().values
    even = torch.tensor([-0.5, 0.5]) * ascending[249:251].mean()
    assert loads_of(logits, even, 1).tolist() == [250, 250]
    assert 0.05 <= load_gini(loads_of(logits, held(logits, even, 1), 1)) <= 0.4


def test_tokens_all_alike_leave_the_bias_finite():
    bias = torch.zeros(8)
    logits = torch.randn(1, 8, generator=torch.Generator().manual_seed(3)).expand(1000, 8)
    for _ in range(100):
        bias = held(logits, bias, 2)
    assert bias.abs().max() < 20


@pytest.mark.parametrize("num_tokens", [500, 20_000, 100_000])
def test_micro_batches_of_other_favourites_make_a_step_within_the_band(num_tokens):
    """Each alone would be left as it is; together they are too equal. Some are looked at only."""
    bias, generator = torch.zeros(2), torch.Generator().manual_seed(1)
    first = torch.randn(num_tokens, 2, generator=generator) + torch.tensor([0.4, 0.0])
    second = first.flip(1)
    for logits in (first, second):
        assert torch.equal(held(logits, bias, 1), bias)
    earlier = loads_of(first, bias, 1)
    assert load_gini(earlier + loads_of(second, bias, 1)) < 0.05
    found = held_bias(second, bias, 1, earlier)
    assert 0.05 <= load_gini(earlier + loads_of(second, found, 1)) <= 0.4
    assert torch.equal(earlier, loads_of(first, bias, 1))


def test_where_every_expert_answers_there_is_nothing_to_hold():
    bias = torch.tensor([0.4, -0.1, -0.3])
    assert torch.equal(held(torch.randn(500, 3), bias, 3), bias)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_gpu_which_is_not_waited_for_finds_the_same_bias(spread):
    logits, bias = skewed_logits(2000, 8, spread), torch.zeros(8)
    expected = held(logits, bias, 2)
    assert torch.equal(expected, bias) == (spread < 1)
    with simulated_gpu():
        found = held_bias(
            GpuTensor(logits), GpuTensor(bias), 2, GpuTensor(torch.zeros(8, dtype=torch.int64))
        )
    torch.testing.assert_close(found.cpu(), expected)
