"""Whether the cascade keeps up with embedding search on the same users, in words."""

from collections.abc import Mapping
from typing import Any


def compare_cascade(metrics: Mapping[str, Any]) -> tuple[bool, str]:
    """Judge by the paired difference of NDCG@10 and its interval.

    Args:
        metrics: of an :class:`~model.inference.report.EvaluationReport`.

    Returns:
        Whether the cascade is not below by more than chance; and a sentence that says so, and
        which parameters would make it so where it is not.
    """
    difference = metrics["cascade_minus_embedding"]
    low, high = difference["ci95"]["ndcg@10"]
    figures = f"{difference['ndcg@10']:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    said = f"Cascade minus embedding search, NDCG@10: {figures}: "
    if low > 0.0:
        return True, said + "it wins."
    if high >= 0.0:
        return True, said + "no difference beyond chance."
    missed = metrics["cascade_losses"]["not_among_beams"]["share"]
    return False, said + (
        f"it loses. {missed:.1%} of the targets are not among the beams: raise "
        "cascade.num_sids and cascade.beam_width, or recommender_checkpoint.epochs."
    )
