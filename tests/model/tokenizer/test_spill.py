import tracemalloc

import numpy as np
import pytest

from model.tokenizer import spill as spill_module
from model.tokenizer.quantizer import Assignment, Quantizer
from model.tokenizer.spill import spill
from tests.model.tokenizer.worlds import item_vectors

SIZE, ITEMS, CROWD = 512, 20_000, 700


@pytest.fixture(scope="module")
def quantizer():
    generator = np.random.default_rng(0)
    levels = (generator.standard_normal((SIZE, 4)).astype(np.float32) for _ in range(4))
    return Quantizer("l2", tuple(levels), {})


def _assigned(seed: int) -> Assignment:
    """Codes of four levels, so many that hardly two items share the first two."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(SIZE, size=(ITEMS, 4)).astype(np.int32)
    return Assignment(codes, generator.random((ITEMS, 4)).astype(np.float32))


@pytest.mark.parametrize("crowd", [0, CROWD])
def test_four_levels_need_memory_for_the_items_and_not_for_every_prefix(quantizer, crowd):
    generator = np.random.default_rng(1)
    vectors = item_vectors(generator.standard_normal((ITEMS, 4)).astype(np.float32))
    assigned = _assigned(2)
    assigned.codes[:crowd, :3] = 7
    rooms = [SIZE**3, SIZE**2, SIZE]
    tracemalloc.start()
    after, spilled = spill(quantizer, vectors, assigned, np.zeros(ITEMS, bool), rooms)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # free places of every code below every pair: 80 MB each time
    assert spilled.sum() == max(0, crowd - SIZE)
    assert np.array_equal(after.codes[~spilled], assigned.codes[~spilled])
    moved = after.codes[spilled]
    assert (moved[:, :2] == 7).all() and (moved[:, 2] != 7).all()
    farthest = np.argsort(-assigned.distances[:crowd, 2])[: spilled.sum()]
    assert set(np.flatnonzero(spilled)) == set(farthest)


def test_a_code_that_fills_up_sends_the_next_ones_on(quantizer):
    """Room for one each: those who leave take what is free beside the items that stay."""
    vectors = item_vectors(np.random.default_rng(3).standard_normal((SIZE, 4)).astype(np.float32))
    assigned = Assignment(np.zeros((SIZE, 4), np.int32), np.ones((SIZE, 4), np.float32))
    assigned.codes[:10, 0] = np.arange(10)
    pinned = np.arange(SIZE) < 10
    after, _ = spill(quantizer, vectors, assigned, pinned, [1])
    assert np.array_equal(np.sort(after.codes[:, 0]), np.arange(SIZE))
    assert np.array_equal(after.codes[:10], assigned.codes[:10])


def test_of_equally_far_items_of_a_large_code_the_last_leave(quantizer):
    vectors = item_vectors(np.random.default_rng(4).standard_normal((10, 4)).astype(np.float32))
    assigned = Assignment(np.zeros((10, 4), np.int32), np.ones((10, 4), np.float32))
    assigned.codes[8:, 0] = 1
    after, spilled = spill(quantizer, vectors, assigned, np.zeros(10, bool), [6])
    assert np.flatnonzero(spilled).tolist() == [6, 7]
    assert (after.codes[:, 0] == 0).sum() == 6


def test_how_many_items_move_at_once_changes_nothing(quantizer, monkeypatch):
    vectors = item_vectors(np.random.default_rng(5).standard_normal((600, 4)).astype(np.float32))
    assigned = _assigned(6)
    assigned = Assignment(assigned.codes[:600], assigned.distances[:600])
    assigned.codes[:, :2] = np.arange(600)[:, None] % 3
    nobody, rooms = np.zeros(600, bool), [SIZE**3, 50]
    whole, spilled = spill(quantizer, vectors, assigned, nobody, rooms)
    assert spilled.sum() == 450
    monkeypatch.setattr(spill_module, "_MOVED_AT_ONCE", 7)
    pieces, _ = spill(quantizer, vectors, assigned, nobody, rooms)
    assert np.array_equal(pieces.codes, whole.codes)
    assert np.array_equal(pieces.distances, whole.distances)


def test_more_pinned_items_than_a_code_has_room_for_stay(quantizer):
    vectors = item_vectors(np.random.default_rng(4).standard_normal((10, 4)).astype(np.float32))
    assigned = Assignment(np.zeros((10, 4), np.int32), np.ones((10, 4), np.float32))
    _, spilled = spill(quantizer, vectors, assigned, np.arange(10) < 8, [6])
    assert np.flatnonzero(spilled).tolist() == [8, 9]
