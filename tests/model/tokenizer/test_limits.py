import numpy as np

from model.tokenizer.limits import settle


def test_items_settle_in_turn_in_the_cheapest_group_with_room_ties_by_number():
    costs = np.float32([[2, 1, 1], [2, 1, 1], [2, 1, 1], [0, 5, 5]])
    free = np.array([[2, 1, 1]])
    assert settle(costs, np.zeros(4, np.int64), free).tolist() == [1, 2, 0, 0]
    assert free.tolist() == [[0, 0, 0]]
