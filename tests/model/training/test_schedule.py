"""The shape of the learning rate."""

import math

import pytest

from model.training.schedule import learning_rate_factor


def curve(kind, total=100, warmup=0.1) -> list[float]:
    return [learning_rate_factor(step, total, warmup, kind) for step in range(total)]


@pytest.mark.parametrize("kind", ["cosine", "constant_decay"])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_rises_to_one_then_only_falls_and_never_is_zero_within_the_run(kind, total, warmup):
    values = curve(kind, total, warmup)
    top = values.index(max(values))
    assert all(0.0 < value <= 1.0 for value in values)
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert learning_rate_factor(total, total, warmup, kind) == 0.0


def test_warm_up_is_linear_and_ends_at_one():
    assert curve("cosine")[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert curve("cosine", warmup=0.0)[0] == 1.0
    assert curve("cosine", total=18)[:2] == pytest.approx([0.5, 1.0])  # 1.8 steps are two


def test_cosine_halves_in_the_middle():
    values = curve("cosine")
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert values[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_constant_until_the_last_fifth():
    values = curve("constant_decay")
    assert set(values[9:81]) == {1.0}
    assert values[90] == pytest.approx(0.5)
    assert values[99] == pytest.approx(0.05)
