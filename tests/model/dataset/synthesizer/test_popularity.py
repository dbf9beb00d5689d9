"""Expected counts: the published shape, the exact sum, and small worlds that cannot have it."""

import numpy as np
import pytest

from model.dataset.synthesizer.popularity import expected_counts


@pytest.mark.parametrize(
    ("num_items", "num_events", "num_users"),
    [(30_000, 1.9e6, 20_000), (100_000, 2.5e6, 25_000), (400, 28_000.0, 300), (100, 5_000.0, 60)],
)
def test_the_sum_is_exact_and_the_order_ascending(num_items, num_events, num_users):
    counts = expected_counts(num_items, num_events, num_users)
    assert len(counts) == num_items
    assert counts.sum() == pytest.approx(num_events)
    assert (np.diff(counts) >= 0).all()
    assert (counts > 0).all()


@pytest.mark.parametrize("items_per_user", [1.5, 1.7, 4.8])  # the demo, TencentGR-10M, TencentGR-1M
def test_the_head_begins_where_it_was_published_at_any_number_of_users(items_per_user):
    num_items = 60_000
    num_users = round(num_items / items_per_user)
    counts = 1 + expected_counts(num_items, 96.3 * num_users - num_items, num_users)
    assert np.quantile(counts, 0.9) == pytest.approx(0.8 * 23, rel=0.05)  # repeats add to it
    assert np.median(counts) == pytest.approx(2, abs=0.1)


def test_the_top_carries_half(num_items=30_000):
    counts = expected_counts(num_items, 1.9e6, 20_000)
    assert counts[-num_items // 100 :].sum() / counts.sum() == pytest.approx(0.55, abs=0.03)
    assert np.median(counts) + 1 == pytest.approx(2, abs=0.5)
    assert counts.max() <= 0.24 * 20_000 * 1.05
