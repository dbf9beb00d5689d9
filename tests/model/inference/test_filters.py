"""Filters on histories that can be read at a glance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import is_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model.dataset.recommendable import blocked_items
from model.errors import InputError
from model.inference.filters import (
    Seen,
    allowed_items,
    full_groups,
    most_within_cap,
    seen_items,
    within_cap,
)
from tests.model.inference.small_world import small_interactions

# users:        0: items 1 2 3 | 4 | 5     1: items 2 2 | 6     2: item 3 (no target)
ALL_ACTIONS = [0, 1, 2]


@pytest.fixture
def interactions():
    return small_interactions()


def rows_of(allowed: list[int]) -> np.ndarray:
    rows = np.full(8, -1)
    rows[allowed] = np.arange(len(allowed))
    return rows


def pairs(seen: Seen) -> list[tuple[int, int]]:
    return list(zip(seen.owners.tolist(), seen.rows.tolist(), strict=True))


def test_seen_items_are_those_of_the_history_once_each(interactions):
    rows = rows_of([1, 2, 3, 4, 5, 6, 7])
    arguments = {"action_types": ALL_ACTIONS, "rows": rows, "num_rows": 7}
    seen = seen_items(interactions, np.array([1, 0]), "test", **arguments)
    assert pairs(seen) == [(0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]
    seen = seen_items(interactions, np.array([2]), "submission", **arguments)
    assert pairs(seen) == [(0, 2)]


def test_only_the_named_actions_hide_an_item(interactions):
    rows = rows_of([1, 2, 3, 4, 5, 6, 7])
    seen = seen_items(interactions, np.array([0]), "test", action_types=[1], rows=rows, num_rows=7)
    assert pairs(seen) == [(0, 1), (0, 3)]  # items 2 and 4 were clicked, 1 and 3 shown


def test_an_item_outside_the_catalogue_is_not_seen(interactions):
    rows = rows_of([2, 5])
    seen = seen_items(
        interactions, np.array([0]), "test", action_types=ALL_ACTIONS, rows=rows, num_rows=2
    )
    assert pairs(seen) == [(0, 0)]


def test_contains_and_the_missing_row():
    seen = Seen(torch.tensor([0, 0, 1]), torch.tensor([1, 4, 0]), 5)
    rows = torch.tensor([[4, 1, 0, -1], [0, 1, 4, -1]])
    assert seen.contains(rows).tolist() == [
        [True, True, False, False],
        [True, False, False, False],
    ]
    nothing = Seen(torch.zeros(0).long(), torch.zeros(0).long(), 5)
    assert not nothing.contains(rows).any()


def test_added_rows_and_chosen_users():
    seen = Seen(torch.tensor([0, 2]), torch.tensor([3, 1]), 5)
    more = seen.with_rows(torch.tensor([[0, -1], [-1, -1], [1, 4]]))
    assert pairs(more) == [(0, 0), (0, 3), (2, 1), (2, 4)]
    assert pairs(more.of_users(torch.tensor([1, 2]))) == [(1, 1), (1, 4)]
    assert pairs(more.of_users(torch.tensor([], dtype=torch.long))) == []


def test_allowed_items_are_candidates_warm_and_not_blocked(interactions):
    counts = np.array([0, 1, 2, 2, 0, 0, 0, 0])
    assert allowed_items(interactions, counts, filter_cold=False).tolist() == [2, 3, 4, 5, 6, 7]
    assert allowed_items(interactions, counts, filter_cold=True).tolist() == [2, 3]
    assert allowed_items(interactions, counts, filter_cold=True, blocked=[3]).tolist() == [2]


def test_a_block_list_names_items_as_texts_or_numbers(interactions):
    assert blocked_items(interactions, ["23", 21]).tolist() == [3, 1]  # item 3 is called 23


def test_an_empty_block_list_reads_no_raw_ids(interactions):
    found = blocked_items(replace(interactions, raw_item_ids=None), [])
    assert (found.tolist(), found.dtype) == ([], np.int64)


def test_a_blocked_item_that_is_none_is_named(interactions):
    with pytest.raises(InputError, match=r"cascade.blocked_items names '999'"):
        blocked_items(interactions, ["23", "999"])


def test_nothing_left_is_an_error(interactions):
    with pytest.raises(InputError, match="cold"):
        allowed_items(interactions, np.zeros(8), filter_cold=True)


def test_cap_keeps_the_first_of_each_group():
    groups = torch.tensor([[5, 5, 7, 5, 0, 7, 0, 0, -1], [1, 2, 1, 2, 1, 2, 3, -1, -1]])
    assert within_cap(groups, 1).int().tolist() == [
        [1, 0, 1, 0, 1, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0, 1, 0, 0],
    ]
    assert within_cap(groups, 2).int().tolist() == [
        [1, 1, 1, 0, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0, 0, 1, 0, 0],
    ]
    assert within_cap(groups, 0).int().tolist() == [
        [1, 1, 1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
    ]


@pytest.mark.parametrize("cap", [1, 2, 5])
def test_most_within_cap_is_what_a_list_of_everything_would_keep(cap):
    generator = torch.Generator().manual_seed(cap)
    groups = torch.randint(0, 6, (40,), generator=generator)
    hidden = torch.rand(3, 40, generator=generator) < 0.5
    hidden[2] = False
    owners, rows = hidden.nonzero(as_tuple=True)
    everything = torch.where(hidden, -1, groups)
    expected = within_cap(everything, cap).sum(dim=1)
    found = most_within_cap(groups, Seen(owners, rows, 40), 3, cap)
    assert found.tolist() == expected.tolist()


def test_full_groups_hide_all_their_rows_from_those_who_have_enough_of_them():
    groups = torch.tensor([4, 0, 9, 4, 2, 9])
    listed = torch.tensor([[4, 9, 4, -1], [9, 0, 0, -1], [-1, -1, -1, -1]])
    full = full_groups(groups, listed, 2)
    assert full.hides(0, 6).int().tolist() == [[1, 0, 0, 1, 0, 0], [0] * 6, [0] * 6]
    full = full_groups(groups, listed, 1)
    assert full.hides(0, 6).int().tolist() == [[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 1], [0] * 6]
    assert full.hides(2, 4).int().tolist() == [[1, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize("cap", [1, 2, 3, 9])
def test_full_groups_are_those_that_a_count_of_all_pairs_finds(cap):
    generator = torch.Generator().manual_seed(cap)
    groups = torch.randint(0, 7, (40,), generator=generator)
    listed = torch.randint(-1, 7, (6, 12), generator=generator)
    listed[5] = -1
    times = (listed[:, :, None] == listed[:, None, :]).sum(dim=2)
    full = (times >= cap) & (listed > 0)
    expected = [torch.isin(groups, row[of_user]) for row, of_user in zip(listed, full, strict=True)]
    assert torch.equal(full_groups(groups, listed, cap).hides(0, 40), torch.stack(expected))


def test_full_groups_of_long_lists_need_no_room_for_all_their_pairs():
    groups = torch.arange(1000) // 2
    with LargestTensor() as largest:
        full = full_groups(groups, groups[None], 2)
    assert largest.numel <= 1000
    assert full.hides(0, 1000)[0].tolist() == [False] * 2 + [True] * 998


class LargestTensor(TorchDispatchMode):
    """How many numbers the largest tensor has that is made inside."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(x.numel() for x in tree_leaves(made) if is_tensor(x))])
        return made
