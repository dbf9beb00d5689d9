"""The trie against the plain list of semantic IDs."""

import numpy as np
import pytest

from model.errors import InputError
from model.inference.trie import Trie, build_trie
from tests.model.inference.fakes import trie_of


def walk(trie: Trie) -> dict[tuple[int, ...], list[int]]:
    """Every semantic ID with its items, found by walking down the arrays."""
    found = {}

    def visit(level: int, node: int) -> None:
        if level == trie.num_levels - 1:
            begin, end = trie.item_offsets[node], trie.item_offsets[node + 1]
            found[tuple(trie.prefixes[level][node].tolist())] = trie.items[begin:end].tolist()
            return
        for child in range(*trie.child_offsets[level][node : node + 2].tolist()):
            assert trie.prefixes[level + 1][child, :-1].equal(trie.prefixes[level][node])
            visit(level + 1, child)

    for root in range(len(trie.prefixes[0])):
        visit(0, root)
    return found


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_holds_exactly_the_semantic_ids_of_the_items(levels):
    codes = np.random.default_rng(levels).integers(1, 5, (40, levels))
    expected: dict[tuple[int, ...], list[int]] = {}
    for row, sid in enumerate(codes.tolist()):
        expected.setdefault(tuple(sid), []).append(row)
    assert walk(trie_of(codes)) == expected


def test_an_item_without_a_semantic_id_cannot_be_generated():
    codes = np.array([[1, 1], [0, 0], [2, 3], [1, 0]])
    assert walk(trie_of(codes)) == {(1, 1): [0], (2, 3): [2]}


def test_items_of_one_semantic_id_are_listed_by_priority():
    codes = np.array([[1, 1], [1, 1], [1, 1], [2, 1]])
    trie = build_trie(codes, priority=np.array([3, 9, 3, 1]))
    assert walk(trie)[1, 1] == [1, 0, 2]


def test_no_semantic_id_at_all_is_an_error():
    with pytest.raises(InputError, match="semantic ID"):
        trie_of(np.zeros((3, 2), np.int32))
