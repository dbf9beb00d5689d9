"""Who becomes champion: worked out on paper."""

import pytest

from assets.promotion import decide


def _metrics(score, low=None, high=None):
    validation = {"score": score, "ci95": {"score": [low or score, high or score]}}
    return {"validation": validation, "cascade": {"score": 1.0 - score}}  # test decides nothing


def test_the_first_model_is_champion():
    decision = decide(_metrics(0.1), None, incumbent=None)
    assert decision.promoted
    assert decision.champion is None
    assert decision.incumbent is None


@pytest.mark.parametrize(
    ("score", "promoted"),
    [
        (0.25, True),  # better
        (0.19, True),  # worse, within the champion's interval
        (0.18, True),  # exactly its lower end
        (0.179, False),  # below it
    ],
)
def test_a_challenger_must_reach_the_champions_interval(score, promoted):
    champion = _metrics(0.20, low=0.18, high=0.22)
    decision = decide(_metrics(score), champion, incumbent="abc")
    assert decision.promoted is promoted
    assert decision.incumbent == "abc"
    assert "0.1800" in decision.reason


def test_a_champion_that_cannot_read_the_data_makes_way():
    decision = decide(_metrics(0.0), None, incumbent="abc", obstacle="The vocabulary changed.")
    assert decision.promoted
    assert decision.reason == "The vocabulary changed."
