import numpy as np
import pytest

from model.training.order import Order


def _order(n=23, batch_size=5, epochs=2.5, seed=1):
    return Order(np.arange(100, 100 + n), batch_size, epochs, seed)


def test_every_epoch_meets_every_row_once_in_another_order():
    order = _order()
    epochs = [
        np.concatenate([order.rows(step) for step in range(first, first + order.steps_per_epoch)])
        for first in (0, order.steps_per_epoch)
    ]
    for met in epochs:
        assert sorted(met) == order.users.tolist()
    assert epochs[0].tolist() != epochs[1].tolist()


def test_a_step_is_the_same_whatever_was_asked_before():
    forwards = [_order().rows(step).tolist() for step in range(8)]
    backwards = [_order().rows(step).tolist() for step in reversed(range(8))]
    assert forwards == backwards[::-1]
    assert _order(seed=2).rows(0).tolist() != forwards[0]


def test_a_part_of_an_epoch_is_a_part_of_its_steps():
    assert _order().steps_per_epoch == 5
    assert _order().num_steps == 13
    assert _order(epochs=0.01).num_steps == 1
    assert Order(np.arange(500), 10, 2.2, 0).num_steps == 110  # in floats a little more


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 2])
def test_processes_and_pieces_share_the_rows_of_a_step(world_size, pieces):
    order = _order()
    for step in (0, 4):
        shares = [order.share(step, rank, world_size, pieces) for rank in range(world_size)]
        met = np.concatenate([piece for share in shares for piece in share])
        assert sorted(met) == sorted(order.rows(step))


@pytest.mark.parametrize("batch_size", [10, 13, 39])
@pytest.mark.parametrize("pieces", [2, 3, 4])
@pytest.mark.parametrize("world_size", [2, 3])
def test_a_micro_batch_of_all_processes_is_that_of_one(world_size, pieces, batch_size):
    """However the batch divides: a micro-batch's items are the negatives of its targets."""
    order = _order(n=41, batch_size=batch_size)
    for step in (0, order.steps_per_epoch - 1):
        alone = order.share(step, 0, 1, pieces)
        shares = [order.share(step, rank, world_size, pieces) for rank in range(world_size)]
        for place, rows in enumerate(alone):
            together = np.concatenate([share[place] for share in shares])
            assert sorted(together) == sorted(rows)
        sizes = [sum(map(len, share)) for share in shares]
        assert max(sizes) - min(sizes) <= 1
