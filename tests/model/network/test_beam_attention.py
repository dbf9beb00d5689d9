"""The beams' attention against the one of training, and the kernel against plain operations."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.network import beam_attention
from model.network.attention_plan import plan_attention
from model.network.beam_attention import Memory, attend_padded, remember
from model.network.hstu import NUM_TIME_BUCKETS, CrossHSTULayer

LENGTHS = (1, 5, 30, 8, 13)


def make_layer(dtype: torch.dtype, **changes: Any) -> CrossHSTULayer:
    """Random weights and biases."""
    params: dict[str, Any] = {
        "dim": 24,
        "num_heads": 3,
        "dropout": 0.0,
        "max_length": 20,
        "position_bias": True,
        "time_bias": True,
        "normalize_attention": True,
    }
    torch.manual_seed(0)
    namespace: Any = SimpleNamespace(**(params | changes))
    layer = CrossHSTULayer(namespace).to(dtype).eval()
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return layer


def make_memory(dtype: torch.dtype, *, timestamps: bool = True) -> Memory:
    offsets = torch.tensor([0, *LENGTHS]).cumsum(0)
    hidden = torch.randn(int(offsets[-1]), 24, dtype=dtype)
    times = torch.randint(0, 10**6, (len(hidden),)).sort().values if timestamps else None
    return remember(hidden, offsets, times, num_buckets=NUM_TIME_BUCKETS)


@pytest.mark.parametrize("num_beams", [1, 20, 70])
@pytest.mark.parametrize(
    "changes", [{}, {"position_bias": False, "time_bias": False, "normalize_attention": False}]
)
def test_the_kernel_equals_plain_operations(num_beams, changes, monkeypatch):
    layer, memory = make_layer(torch.float64, **changes), make_memory(torch.float64)
    query = torch.randn(len(LENGTHS), num_beams, 24, dtype=torch.float64)
    found = layer.attend_last(query, memory)
    monkeypatch.setattr("model.network.hstu.attend_last", attend_padded)
    torch.testing.assert_close(found, layer.attend_last(query, memory))


def test_a_beam_at_the_last_place_is_what_training_computes_there():
    layer, memory = make_layer(torch.float64), make_memory(torch.float64)
    times = torch.arange(len(memory.hidden)) * 1000
    memory = remember(memory.hidden, memory.offsets, times, num_buckets=NUM_TIME_BUCKETS)
    plan = plan_attention(memory.offsets, times, NUM_TIME_BUCKETS)
    query = torch.randn_like(memory.hidden)
    with torch.no_grad():
        trained = layer(query, memory.hidden, plan)
    last = memory.offsets[1:] - 1
    found = layer.attend_last(query[last][:, None], memory)[:, 0]
    torch.testing.assert_close(found, trained[last])


def test_single_precision_is_as_good_as_that_of_plain_operations(monkeypatch):
    layer, memory = make_layer(torch.float32), make_memory(torch.float32)
    query = torch.randn(len(LENGTHS), 20, 24)
    found = layer.attend_last(query, memory)
    monkeypatch.setattr("model.network.hstu.attend_last", attend_padded)
    torch.testing.assert_close(found, layer.attend_last(query, memory), atol=1e-4, rtol=1e-4)


def test_pieces_hold_every_row_once(monkeypatch):
    monkeypatch.setitem(beam_attention.TOKENS_AT_ONCE, "cpu", 10)
    memory = make_memory(torch.float32, timestamps=False)
    rows: list[int] = []
    for chosen, piece in memory.pieces():
        rows += range(len(LENGTHS))[chosen]
        begin, end = memory.offsets[chosen.start], memory.offsets[chosen.stop]
        assert piece.hidden.equal(memory.hidden[begin:end])
        assert piece.distance.equal(memory.distance[begin:end])
        assert piece.offsets.equal(memory.offsets[chosen.start : chosen.stop + 1] - begin)
        assert piece.buckets is None
    assert rows == list(range(len(LENGTHS)))
