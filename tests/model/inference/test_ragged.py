"""Ragged rows against loops."""

import torch

from model.inference import ragged

STARTS, COUNTS = torch.tensor([5, 0, 9]), torch.tensor([2, 0, 3])
OFFSETS = torch.tensor([0, 2, 2, 5])


def test_expand_lists_each_range():
    owners, positions = ragged.expand(STARTS, COUNTS)
    assert owners.tolist() == [0, 0, 2, 2, 2]
    assert positions.tolist() == [5, 6, 9, 10, 11]
    assert ragged.offsets_of(COUNTS).tolist() == OFFSETS.tolist()


def test_sampled_dot_is_the_dot_product_of_the_chosen_pairs():
    queries, keys = torch.randn(3, 7), torch.randn(12, 7)
    owners, positions = ragged.expand(STARTS, COUNTS)
    expected = torch.stack([queries[q] @ keys[k] for q, k in zip(owners, positions, strict=True)])
    torch.testing.assert_close(ragged.sampled_dot(queries, keys, OFFSETS, positions), expected)


def test_sampled_dot_takes_columns_in_any_order_and_twice():
    queries, keys = torch.randn(1, 4), torch.randn(5, 4)
    columns = torch.tensor([4, 0, 4])
    found = ragged.sampled_dot(queries, keys, torch.tensor([0, 3]), columns)
    torch.testing.assert_close(found, (keys @ queries[0])[columns])


def test_sampled_dot_of_nothing_is_empty():
    nothing = torch.zeros(0, dtype=torch.long)
    found = ragged.sampled_dot(torch.randn(2, 4), torch.randn(5, 4), torch.zeros(3).long(), nothing)
    assert found.shape == (0,)


def test_log_softmax_normalises_each_row():
    values = torch.randn(5)
    owners, _ = ragged.expand(STARTS, COUNTS)
    expected = torch.cat([values[:2].log_softmax(0), values[2:].log_softmax(0)])
    torch.testing.assert_close(ragged.log_softmax(values, owners, OFFSETS), expected)


def test_pack_fills_on_the_right():
    owners, positions = ragged.expand(STARTS, COUNTS)
    assert ragged.pack(positions, owners, OFFSETS, -1).tolist() == [
        [5, 6, -1],
        [-1, -1, -1],
        [9, 10, 11],
    ]
