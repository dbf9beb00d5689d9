"""Metrics: numbers that can be checked by hand."""

import numpy as np
import pytest

from model import metrics
from model.errors import InputError

RANKS = np.array([1, 3, 0, 12])


def test_a_rank_is_the_place_in_the_list_and_zero_where_it_is_missing():
    lists = np.array([[7, 8, 9], [7, 8, 9], [7, 8, 9]])
    assert metrics.ranks_in_lists(lists, np.array([7, 9, 5])).tolist() == [1, 3, 0]


def test_a_target_without_a_number_is_not_found_in_the_padding_of_a_short_list():
    lists = np.array([[7, 0, -1], [7, 0, -1]])
    assert metrics.ranks_in_lists(lists, np.array([-1, 0])).tolist() == [0, 2]


def test_hit_rate_counts_targets_within_the_cutoff():
    assert metrics.hit_rate(RANKS, 1) == 1 / 4
    assert metrics.hit_rate(RANKS, 10) == 2 / 4
    assert metrics.hit_rate(RANKS, 50) == 3 / 4


def test_ndcg_is_one_over_log2_of_the_rank_plus_one():
    assert metrics.ndcg(RANKS, 10) == pytest.approx((1 + 1 / 2) / 4)  # log2(4) = 2


def test_reciprocal_ranks_end_at_the_cutoff():
    assert metrics.reciprocal_ranks(RANKS, 10).tolist() == [1, 1 / 3, 0, 0]


def test_score_is_the_competitions_mix():
    expected = 0.31 * 2 / 4 + 0.69 * (1 + 1 / 2) / 4
    assert metrics.competition_score(RANKS) == pytest.approx(expected)


def test_weights_count_a_conversion_two_and_a_half_times():
    weights = np.array([2.5, 1.0, 1.0, 0.0])
    assert metrics.hit_rate(RANKS, 1, weights) == pytest.approx(2.5 / 4.5)


def test_weights_that_are_all_zero_name_the_parameter():
    with pytest.raises(InputError, match=r"evaluation_report\.action_weights"):
        metrics.hit_rate(RANKS, 10, np.zeros(4))


def test_no_user_is_an_error_and_not_a_nan():
    with pytest.raises(InputError, match="no user"):
        metrics.ndcg(np.array([], np.int64), 10)


def test_gini_by_hand():
    assert metrics.gini(np.array([5, 5, 5, 5])) == pytest.approx(0.0)
    assert metrics.gini(np.array([0, 0, 0, 8])) == pytest.approx(3 / 4)
    # mean absolute difference of (1, 3): (0 + 2 + 2 + 0) / 4 = 1; over 2 * mean = 4
    assert metrics.gini(np.array([1, 3])) == pytest.approx(1 / 4)
    assert metrics.gini(np.zeros(3)) == 0.0


def test_bootstrap_interval_holds_the_mean_and_narrows_with_users():
    def width(num_users: int) -> float:
        gains = (np.arange(num_users) % 4 == 0).astype(float)[:, None]
        weights = np.ones(num_users)
        low, high = metrics.bootstrap_intervals(gains, weights, samples=400, seed=1)[0]
        assert low < 0.25 < high
        # 1.96 standard errors of a share of a quarter, on either side
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.1875 / num_users), rel=0.2)
        return high - low

    assert width(1600) < width(100) / 3


def test_bootstrap_ends_are_percentiles_of_the_draws():
    generator = np.random.default_rng(0)
    gains, weights = generator.random((30, 2)), generator.random(30)
    found = metrics.bootstrap_intervals(gains, weights, samples=500, seed=7)
    draws = np.random.default_rng(7).integers(30, size=(500, 30))
    for column, interval in zip(gains.T, found, strict=True):
        means = [np.average(column[users], weights=weights[users]) for users in draws]
        np.testing.assert_allclose(interval, np.percentile(means, [2.5, 97.5]))


def test_bootstrap_is_seeded_and_paired():
    gains = np.random.default_rng(0).random((300, 1))
    both = np.hstack([gains, gains + 0.5, (gains + 0.5) - gains])
    intervals = metrics.bootstrap_intervals(both, np.ones(300), samples=100, seed=3)
    again = metrics.bootstrap_intervals(both, np.ones(300), samples=100, seed=3)
    np.testing.assert_array_equal(intervals, again)
    # the same draws for every column: a constant difference has no spread
    np.testing.assert_allclose(intervals[2], [0.5, 0.5])
    np.testing.assert_allclose(intervals[1] - intervals[0], 0.5)


def test_bootstrap_weights_users():
    gains = np.array([[1.0], [0.0]])
    low, high = metrics.bootstrap_intervals(gains, np.array([1.0, 0.0]), samples=50, seed=0)[0]
    assert (low, high) in {(0.0, 1.0), (1.0, 1.0)}


def test_bootstrap_weights_users_for_each_metric_as_it_would_alone():
    rng = np.random.default_rng(0)
    gains, weights = rng.random((50, 2)), rng.integers(0, 11, (50, 2))
    both = metrics.bootstrap_intervals(gains, weights, samples=100, seed=3)
    for column, found in enumerate(both):
        alone = metrics.bootstrap_intervals(
            gains[:, [column]], weights[:, column], samples=100, seed=3
        )
        np.testing.assert_allclose(found, alone[0])
