"""The kernels' sort against numpy's."""

import numpy as np
import pytest

from model.tokenizer.radix_sort import radix_sorted


@pytest.mark.parametrize(
    "low, high", [(0, 1), (7, 8), (0, 300), (2**31, 2**31 + 70_000), (0, 2**32)]
)
@pytest.mark.parametrize("count", [0, 1, 2, 600])
def test_sorts_by_the_upper_half_and_keeps_the_order_of_equals(low, high, count):
    generator = np.random.default_rng(count)
    keys = generator.integers(low, high, size=count, dtype=np.uint64)
    others = generator.integers(2**32, size=count, dtype=np.uint64)
    packed = keys << np.uint64(32) | others
    expected = packed[np.argsort(keys, kind="stable")]
    assert np.array_equal(radix_sorted(packed, np.empty_like(packed)), expected)
