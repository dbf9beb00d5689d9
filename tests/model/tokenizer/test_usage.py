import numpy as np
import pytest

from model.tokenizer.usage import collapsed_share, level_usage, usage_bars


def test_an_even_spread():
    usage = level_usage(np.array([0, 1, 2, 3] * 5), 4)
    assert usage["used"] == usage["size"] == 4
    assert usage["gini"] == pytest.approx(0.0)
    assert usage["entropy"] == pytest.approx(2.0)
    assert usage["perplexity"] == pytest.approx(4.0)
    assert usage["largest_share"] == 0.25


def test_one_code_for_all():
    usage = level_usage(np.zeros(9, int), 4)
    assert usage["used"] == 1
    assert usage["gini"] == pytest.approx(0.75)
    assert usage["entropy"] == 0.0
    assert usage["largest_share"] == 1.0


@pytest.mark.parametrize(("size", "share"), [(2, 0.95), (3, 0.633), (4, 0.5), (256, 0.5)])
def test_a_code_among_few_may_hold_more(size, share):
    assert collapsed_share(size) == pytest.approx(share, abs=1e-3)


def test_bars_are_the_items_under_each_code():
    assert usage_bars(np.array([3, 1, 3, 3, 1, 0]), 5) == {"used": 3, "bars": [3, 2, 1, 0, 0]}


@pytest.mark.parametrize("size", [256, 257, 1000, 16_384])
def test_many_codes_share_bars_that_hold_all_items(size):
    codes = np.random.default_rng(0).integers(size // 2, size=5000)
    usage = usage_bars(codes, size)
    assert len(usage["bars"]) == 256
    assert usage["used"] == len(np.unique(codes))
    assert usage["bars"] == sorted(usage["bars"], reverse=True)
    assert sum(usage["bars"]) * size / 256 == pytest.approx(5000, rel=0.2)
