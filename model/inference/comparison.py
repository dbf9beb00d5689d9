"""What an evaluation says of the cascade, in words."""

from collections.abc import Mapping
from typing import Any

UNTOLD = "cascade_default_action"  # among the metrics: asked for that, not for the target's action
_UNREACHABLE = {  # why no model could find a target
    "not_a_candidate": "are no candidates",
    "blocked": "are blocked",
    "cold_filtered": "are cold",
    "seen_filtered": "have been seen",
}


def compare_cascade(metrics: Mapping[str, Any]) -> tuple[bool, str]:
    """Judge by the paired difference of NDCG@10 and its interval.

    Args:
        metrics: of an :class:`~model.inference.report.EvaluationReport`.

    Returns:
        Whether the cascade is not significantly worse; and a sentence that says so, with the
        parameters to change where it is.
    """
    if nothing := nothing_measured(metrics):
        return True, nothing
    difference = metrics["cascade_minus_embedding"]
    low, high = difference["ci95"]["ndcg@10"]
    figures = f"{difference['ndcg@10']:+.5f} (95 % interval {low:+.5f} to {high:+.5f})"
    said = f"Cascade minus embedding search, NDCG@10: {figures}: "
    if low > 0.0:
        return True, said + "it wins."
    if high >= 0.0:
        return True, said + "no difference beyond chance."
    return False, said + " ".join(["it loses.", *_remedies(metrics)])


def without_being_told(metrics: Mapping[str, Any]) -> str:
    """A sentence with the cascade's figures where nobody knows what the user will do next.

    Empty where that makes no difference: every target has the action that is then asked for, or the
    network reads none.
    """
    found = metrics[UNTOLD]
    if found["users"] == 0:
        return ""
    return (
        "Each path was told the target's action, as in the competition. Asked for "
        f"cascade.default_action instead, the cascade has HR@10 {found['hr@10']:.4f}, "
        f"NDCG@10 {found['ndcg@10']:.4f}, score {found['score']:.4f}. Where nobody will know it, "
        "set network.features.next_action to false and train again."
    )


def nothing_measured(metrics: Mapping[str, Any]) -> str:
    """A sentence where no model could find any target, else an empty string."""
    losses = metrics["cascade_losses"]
    lost = {fate: losses[fate]["users"] for fate in _UNREACHABLE if losses[fate]["users"]}
    if sum(lost.values()) < metrics["users"]:
        return ""
    counts = ", ".join(f"{users:,} {_UNREACHABLE[fate]}" for fate, users in lost.items())
    return (
        f"Nothing was measured: none of the {metrics['users']:,} targets may be recommended "
        f"({counts}); check the candidates, interactions.split and the filters of cascade."
    )


def _remedies(metrics: Mapping[str, Any]) -> list[str]:
    """Why the cascade loses, and what to set instead.

    Without a beam weight and a cap, a target among the beams ranks at least as high as in embedding
    search; so these two come first, and then the targets that are not among the beams, which
    back-fill may still add to the end of the list.
    """
    share = {fate: lost["share"] for fate, lost in metrics["cascade_losses"].items()}
    unproposed = share["not_among_beams"] + share["hit_by_back_fill"]
    blend, remedies = metrics["beam_weight"], []
    alone = metrics["search_alone"]
    if share["capped"] > 0.0:
        remedies.append(
            f"{share['capped']:.1%} of the targets are left out by the cap on their group: set "
            "cascade.max_per_group to 0."
        )
    if blend > 0.0:
        remedies.append(
            f"{share['ranked_below_ten']:.1%} of the targets are among the beams but ranked below "
            f"ten, with a beam weight of {blend:g}: set cascade.beam_weight to 0"
            f"{'' if metrics['beam_weight_tuned'] else ', or to validation'}."
        )
    if alone and metrics["search"]["kind"] != "exact":
        remedies.append(
            f"The index finds {metrics['search']['recall@10']:.1%} of the true ten: set "
            "cascade.search to exact, or cascade.num_sids above 0."
        )
    if unproposed > 0.0 and not alone:
        remedies.append(
            f"{unproposed:.1%} of the targets are not among the beams: raise "
            "cascade.num_sids and cascade.beam_width, or recommender_checkpoint.epochs."
        )
    if share["no_semantic_id"] > 0.0:
        remedies.append(
            f"{share['no_semantic_id']:.1%} of the targets have no semantic ID: build the codebook "
            "from data that has these items."
        )
    return remedies
