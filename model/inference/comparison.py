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
    figures = f"{difference['ndcg@10']:+.5f} (95 % interval {low:+.5f} to {high:+.5f})"
    said = f"Cascade minus embedding search, NDCG@10: {figures}: "
    if low > 0.0:
        return True, said + "it wins."
    if high >= 0.0:
        return True, said + "no difference beyond chance."
    return False, said + " ".join(["it loses.", *_remedies(metrics)])


def _remedies(metrics: Mapping[str, Any]) -> list[str]:
    """What makes the cascade lose, and what to set instead.

    Without a blend and a cap, a target among the beams ranks at least as high as in embedding
    search; so these come first, and only then the targets that are not among the beams.
    """
    share = {fate: lost["share"] for fate, lost in metrics["cascade_losses"].items()}
    blend, remedies = metrics["beam_weight"], []
    if share["capped"] > 0.0:
        remedies.append(
            f"{share['capped']:.1%} of the targets are left out by the cap on their group: set "
            "cascade.max_per_group to 0."
        )
    if blend > 0.0:
        remedies.append(
            f"{share['ranked_below_ten']:.1%} of the targets are among the beams but ranked below "
            f"ten, with a beam weight of {blend:g}: set cascade.beam_weight to 0, or to validation."
        )
    if share["not_among_beams"] > 0.0:
        remedies.append(
            f"{share['not_among_beams']:.1%} of the targets are not among the beams: raise "
            "cascade.num_sids and cascade.beam_width, or recommender_checkpoint.epochs."
        )
    return remedies
