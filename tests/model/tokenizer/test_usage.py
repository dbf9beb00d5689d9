import numpy as np
import pytest

from model.tokenizer.usage import collapsed_share, level_usage


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
