"""What the benchmark says a row leaves for backward."""

import pytest

from tests.benchmarks.bench_step import Stack, saved_bytes


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_leave_what_grows_with_the_length_and_the_plan_a_byte_per_pair(layers):
    """The plan's is told, and told once, however many layers share it."""
    found = {n: saved_bytes(Stack(32, 2, layers, n), "numba", n, 32) for n in (128, 256)}
    per_layer = {n: size / layers for n, (size, _) in found.items()}
    assert per_layer[256] == pytest.approx(2 * per_layer[128], rel=0.02)
    for length, (_, plan) in found.items():
        pairs = length * (length + 1) // 2
        assert pairs <= plan < pairs + 16 * length + 1024  # its times, and thresholds of buckets
