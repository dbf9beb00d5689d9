"""The short way from the newest items to the output, against a loop over tokens."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from model.network.history_skip import HistorySkip
from model.network.unit import unit
from tests.model.small_network import network_params

PARAMS = network_params(history_skip=3)


def test_a_token_gets_its_own_item_and_those_before_it_in_its_row(data):
    batch = data.training_batch(PARAMS)
    torch.manual_seed(0)
    item_vectors = torch.randn(len(batch.items.ids), 16)
    skip = HistorySkip(3, 16)
    with torch.no_grad():
        skip.weights.normal_()
        made = skip(item_vectors, batch)
    vectors = unit(item_vectors) * math.sqrt(16)
    for row in range(batch.num_rows):
        begin, end = int(batch.offsets[row]), int(batch.offsets[row + 1])
        assert not made[begin].any()  # the user token
        for token in range(begin + 1, end):
            expected = torch.zeros(16)
            for age in range(3):
                if token - age > begin:
                    item = vectors[batch.token_items[token - age]]
                    expected = expected + skip.weights[age] * item
            assert torch.allclose(made[token], expected, atol=1e-5)


def test_a_batch_may_have_fewer_tokens_than_there_are_ages(data):
    dataset = data.dataset(PARAMS)
    user = int(np.flatnonzero(np.diff(data.interactions.offsets) == 1)[0])
    batch = dataset.assemble(dataset.training_windows(np.array([user])))
    made = HistorySkip(3, 16)(torch.randn(len(batch.items.ids), 16), batch)
    assert made.tolist() == [[0.0] * 16]


def test_reaches_the_output_of_the_encoder(data):
    network = data.network(PARAMS).eval()
    batch = data.training_batch(PARAMS)
    with torch.no_grad():
        with_skip = network.encode(batch).hidden
        network.skip.weights.zero_()
        without = network.encode(batch).hidden
    assert not torch.allclose(with_skip, without, atol=1e-2)


def test_several_threads_add_up_the_gradient_in_one_order():
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(64).repeat_interleave(100)
    items = torch.randint(500, (len(rows),), generator=generator)
    batch: Any = SimpleNamespace(token_items=items, rows=rows, offsets=torch.arange(65) * 100)
    item_vectors = torch.randn(500, 64, generator=generator, requires_grad=True)
    skip, before = HistorySkip(8, 64), torch.get_num_threads()
    direction = torch.randn(len(rows), 64, generator=generator)
    torch.set_num_threads(4)
    try:
        gradients = [
            torch.autograd.grad((skip(item_vectors, batch) * direction).sum(), item_vectors)[0]
            for _ in range(10)
        ]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
