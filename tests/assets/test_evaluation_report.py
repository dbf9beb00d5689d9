"""What the check of an evaluation advises."""

from types import SimpleNamespace
from typing import Any

import pytest

from assets.evaluation_report import _judge_worth

WORKSPACE: Any = None  # which the check does not read
LOST = {
    fate: {"users": 0} for fate in ("not_a_candidate", "blocked", "cold_filtered", "seen_filtered")
}


@pytest.mark.parametrize(
    ("cascade", "embedding", "worth", "advice"),
    [
        (0.3, 0.3, True, "counts 0.2000."),
        (0.1, 0.3, False, "alone has 0.3000: raise cascade.num_sids and beam_width."),
        (0.1, 0.15, False, "learned nothing worth serving: train it for longer, or on more."),
    ],
)
def test_a_cascade_that_loses_to_counting_is_told_apart_from_a_model_that_does(
    cascade, embedding, worth, advice
):
    found = {"cascade": cascade, "embedding": embedding, "cooccurrence": 0.2}
    metrics = {"users": 9, "cascade_losses": LOST}
    metrics |= {path: {"ndcg@10": value} for path, value in found.items()}
    made: Any = SimpleNamespace(metrics=metrics)
    verdict = _judge_worth(made, WORKSPACE)
    assert verdict.passed is worth
    assert verdict.reason.endswith(advice)
