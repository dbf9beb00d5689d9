"""The sentence about the cascade and embedding search."""

import pytest

from model.inference.comparison import compare_cascade


def judged(difference, low, high):
    return compare_cascade(
        {
            "cascade_minus_embedding": {"ndcg@10": difference, "ci95": {"ndcg@10": [low, high]}},
            "cascade_losses": {"not_among_beams": {"share": 0.253}},
        }
    )


@pytest.mark.parametrize(
    ("difference", "low", "high", "keeps_up", "told"),
    [
        (0.002, 0.001, 0.003, True, "it wins"),
        (-0.0001, -0.0004, 0.0002, True, "no difference beyond chance"),
        (0.0, 0.0, 0.0, True, "no difference beyond chance"),
        (-0.002, -0.003, -0.001, False, "it loses. 25.3% of the targets"),
    ],
)
def test_the_interval_decides(difference, low, high, keeps_up, told):
    verdict, sentence = judged(difference, low, high)
    assert verdict is keeps_up
    assert told in sentence
    assert f"{difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f})" in sentence
    assert ("cascade.num_sids" in sentence) is not keeps_up
