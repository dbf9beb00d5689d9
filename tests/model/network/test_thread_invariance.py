"""Answers have the same bits with any number of threads."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.inference.filters import Seen
from model.inference.search import ExactSearch
from model.network import beam_attention
from model.network.decoder import SidDecoder
from model.network.experts import segment_experts
from model.network.routing import sort_by_expert
from model.network.thread_invariance import thread_invariant
from tests.model.inference.fakes import (
    FakeBatch,
    FakeNetwork,
    cascade_params,
    fake_recommender,
    random_interactions,
)
from tests.model.small_network import network_params


@pytest.fixture
def with_threads():
    """Computes something with so many threads."""
    before = torch.get_num_threads()

    def compute(threads: int, result: Callable[[], Tensor]) -> Tensor:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            found = result()
        assert torch.get_num_threads() == threads
        return found

    yield compute
    torch.set_num_threads(before)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("threads", [2, 3, 8, 16])
def test_of_a_product(with_threads, threads):
    weight = normal(64, 64)
    for num_rows in range(1, 60):
        x = normal(num_rows, 64)

        def product(x=x):
            with thread_invariant(len(x)):
                return x @ weight.T

        assert torch.equal(with_threads(1, product), with_threads(threads, product))


def test_of_experts_with_few_tokens_each(with_threads):
    num_tokens, num_experts = 110, 12
    x, w1, w2 = normal(num_tokens, 64), normal(num_experts, 128, 64), normal(num_experts, 64, 64)
    chosen = torch.arange(num_tokens)[:, None] % torch.tensor([[12, 7]])
    routing = sort_by_expert(chosen, torch.ones(num_tokens, 2), num_experts)
    assert ((routing.loads > 0) & (routing.loads < 12)).any()
    alone = with_threads(1, lambda: segment_experts(x, w1, w2, routing))
    assert torch.equal(alone, with_threads(2, lambda: segment_experts(x, w1, w2, routing)))


@pytest.mark.parametrize("num_users", [5, 11])
def test_of_exact_search(with_threads, num_users):
    search = ExactSearch(normal(5000, 64), torch.zeros(5000))
    nobody = Seen(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 5000)
    found = [
        with_threads(threads, lambda: search.search(normal(num_users, 64), 10, nobody)[0])
        for threads in (1, 2)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize(("num_beams", "last_tokens"), [(1, 70), (1, 7), (20, 7), (40, 7)])
def test_of_the_beams_of_a_last_piece_of_few_rows(
    with_threads, monkeypatch, num_beams, last_tokens
):
    monkeypatch.setitem(beam_attention.TOKENS_AT_ONCE, "cpu", 400)
    lengths = torch.tensor([10] * 40 + [7] * (last_tokens // 7))  # pieces of 40 rows and of few
    torch.manual_seed(0)
    decoder = SidDecoder(network_params(dim=64, num_heads=2), (8, 8)).eval()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    hidden = normal(int(offsets[-1]), 64)
    prefixes = torch.ones(len(lengths), num_beams, 1, dtype=torch.int64)

    def queries() -> Tensor:
        state = decoder.start(hidden, offsets, torch.arange(len(hidden)))
        level1 = decoder.level1_logits(state)
        return torch.cat([level1.flatten(), decoder.expand(state, prefixes).flatten()])

    assert torch.equal(with_threads(1, queries), with_threads(2, queries))


@pytest.mark.parametrize(("num_items", "expected"), [(5, 1), (40, 2)])
def test_of_many_users_of_few_items(with_threads, monkeypatch, num_items, expected):
    recommender = fake_recommender(random_interactions(40, 160), cascade_params())
    encode, threads = FakeNetwork.encode, []

    def watched(network, batch):
        threads.append(torch.get_num_threads())
        return encode(network, batch)

    monkeypatch.setattr(FakeNetwork, "encode", watched)
    monkeypatch.setattr(FakeBatch, "items", SimpleNamespace(ids=torch.arange(num_items)))
    batch = FakeBatch(np.arange(40), 2 * torch.arange(40) + 1)
    with_threads(2, lambda: recommender.encode(batch)[1])
    assert threads == [expected]
