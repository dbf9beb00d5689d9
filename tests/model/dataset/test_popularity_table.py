"""The table of popularity against a dictionary."""

import numpy as np
import pytest

from model.dataset.popularity_table import (
    LOW_BITS,
    MIXER,
    build_table,
    hash_of,
    home,
    look_up,
)

NUM_ITEMS = 500
PERIOD = pow(MIXER, -1, LOW_BITS + 1)  # ids that differ by it lie beside each other


def drawn(seed: int, num_buckets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Buckets of no item up to all of them."""
    rng = np.random.default_rng(seed)
    shares = rng.choice([0.0, 0.002, 0.1, 0.7, 1.0], num_buckets)
    chosen = rng.random((num_buckets, NUM_ITEMS)) < shares[:, None]
    buckets, items = np.nonzero(chosen)
    return buckets + 1, items + 1, rng.integers(1, 1002, len(items)).astype(np.int16)


@pytest.mark.parametrize("seed", range(6))
def test_everything_is_found_and_nothing_else(seed):
    num_buckets = 30
    buckets, items, codes = drawn(seed, num_buckets)
    table = build_table(buckets, items, codes, num_buckets)
    expected = dict(zip(zip(buckets, items, strict=True), codes, strict=True))
    asked = [(bucket, item) for bucket in range(num_buckets + 1) for item in range(NUM_ITEMS + 20)]
    found = look_up(*table, *np.array(asked).T)
    assert found.tolist() == [expected.get(one, 0) for one in asked]
    assert found.dtype == np.int16


def test_the_order_of_slots_depends_on_nothing_but_the_content():
    given = drawn(1, 30)
    for one, other in zip(build_table(*given, 30), build_table(*given, 30), strict=True):
        assert np.array_equal(one, other)


def test_items_that_all_want_the_same_slot_are_found():
    items = np.sort(np.arange(1, 40) * PERIOD % (LOW_BITS + 1))
    items = items[items < 2**31]
    assert len(items) > 10
    assert len(set(home(hash_of(items), len(items) + len(items) // 2).tolist())) == 1
    table = build_table(np.ones(len(items), int), items, np.arange(1, len(items) + 1), 2)
    assert look_up(*table, np.ones(len(items), int), items).tolist() == [*range(1, len(items) + 1)]
    assert not look_up(*table, np.full(len(items), 2), items).any()
    assert not look_up(*table, np.ones(len(items), int), items + 1).any()


def test_a_search_beyond_the_last_item_of_the_last_bucket_ends_there():
    ascending = np.argsort(hash_of(np.arange(1, NUM_ITEMS))) + 1
    items, absent = ascending[-3:-1], ascending[-1:]
    assert set(home(hash_of(items), 3).tolist()) == {2}  # one is pushed beyond the last slot
    table = build_table(np.ones(2, int), items, np.array([4, 5]), 1)
    assert look_up(*table, np.ones(2, int), items).tolist() == [4, 5]
    assert look_up(*table, np.ones(1, int), absent).tolist() == [0]


def test_no_bucket_at_all():
    nothing = np.zeros(0, np.int64)
    table = build_table(nothing, nothing, nothing.astype(np.int16), 0)
    assert look_up(*table, np.zeros(3, np.int64), np.array([0, 1, 7])).tolist() == [0, 0, 0]
