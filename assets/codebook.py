"""Semantic IDs."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.device import device_name, inference_device
from assets.published_ids import require_ids_hold
from assets.report_metadata import table
from assets.workspace import Workspace
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.params import Params
from model.tokenizer.build import build_codebook
from model.tokenizer.codebook import Codebook
from model.tokenizer.report_views import losses
from model.tokenizer.sids import Occupancy
from model.tokenizer.usage import collapsed_share


def collision_rows(report: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The paper's table 2 for this data, one row per source."""
    return [
        {
            "source": row["source"],
            "method": row["method"],
            "sample": row["sample"],
            **losses(row),
            "conflicts before": row["before"]["conflicts"],
            "rate before": row["before"]["conflict_rate"],
            "unique pairs before": row["before"]["unique_pairs"],
            "over capacity before": row["before"]["over_capacity"],
            "conflicts after": row["after"]["conflicts"],
            "rate after": row["after"]["conflict_rate"],
            "unique pairs after": row["after"]["unique_pairs"],
            "over capacity after": row["after"]["over_capacity"],
            "moved": row["moved"],
            "mean distance before": row["before"]["mean_distance"],
            "mean distance after": row["after"]["mean_distance"],
            "drift": row["drift"],
        }
        for row in report
    ]


def usage_rows(report: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How evenly the codes of each level are used, one row per source and level."""
    return [
        {"source": row["source"], "level": number} | level
        for row in report
        for number, level in enumerate(row["levels"], 1)
    ]


def quality_rows(report: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How well the semantic IDs preserve neighbourhoods and held-out transitions."""
    rows = []
    for row in report:
        near, together = row["quality"]["neighborhood"], row["quality"]["cooccurrence"]
        facts: dict[str, Any] = {"source": row["source"]}
        for name in ("sid1", "vicinity"):
            facts[f"neighbors in {name}"] = near[name]["recall@10"]
            facts[f"neighbors in {name} by chance"] = near[name]["chance"]
            facts[f"transitions in {name}"] = together[name]["share"] if together else "none"
            by_chance = together[name]["chance"] if together else "none"
            facts[f"transitions in {name} by chance"] = by_chance
        rows.append(facts)
    return rows


def _describe(made: Codebook) -> dict[str, Any]:
    growth = made.report[-1].get("growth")
    return {
        "dagster/row_count": made.num_items,
        "semantic ids": len(made.sid_keys),
        "generation": made.generation,
        "revision": made.revision,
        "collisions": dg.MetadataValue.md(table(collision_rows(made.report))),
        "usage of codes": dg.MetadataValue.md(table(usage_rows(made.report))),
        "quality": dg.MetadataValue.md(table(quality_rows(made.report))),
        "growth": dg.MetadataValue.md(table([growth] if growth else [])),
    }


def _backend() -> str:
    """As :func:`model.tokenizer.nearest.nearest_centroid` chooses it."""
    on_gpu = inference_device().type == "cuda"
    return f"torch on {device_name()}" if on_gpu else "faiss on the CPU"


def _judge_spread(made: Codebook, workspace: Workspace) -> Verdict:
    row, limit = made.report[-1], collapsed_share(made.sizes[0])
    if "growth" in row:  # published IDs stay as they are
        share = row["growth"]["largest_share"]
    else:  # balancing spreads even equal vectors; reports of earlier versions lack the key
        share = row.get("largest_nearest_share", row["levels"][0]["largest_share"])
    reason = f"the most used first code of {made.sizes[0]:,} holds {share:.1%} of the items"
    if made.method == "balanced_residual_kmeans" and "growth" not in row:
        reason += " before balancing"
    if share > limit:
        reason += (
            f", more than {limit:.0%}; nearly all item vectors are alike: train the encoder for "
            "longer"
        )
    return Verdict(share <= limit, reason, {"largest share": share})


def _judge_conflicts(made: Codebook, workspace: Workspace) -> Verdict:
    after, capacity = made.report[-1]["after"], workspace.params.codebook.capacity
    occupancy = Occupancy(np.diff(made.sid_offsets))
    fullest = int(occupancy.counts.max(initial=0))
    reason = (
        f"{after['conflicts']:,} items have the semantic ID of an earlier item, "
        f"at most {fullest:,} share one, and codebook.capacity is {capacity:,}"
    )
    facts = {"conflict rate": after["conflict_rate"], "over capacity": occupancy.over(capacity)}
    return Verdict(fullest <= capacity, reason, facts)


@artifact_asset(
    group="items",
    kinds={"faiss"},
    pool="gpu",
    backend=_backend,
    describe=_describe,
    checks=[
        Check(
            "codes_are_spread",
            "Before any balancing, no first code has more than half of all items (95% with two "
            "codes, 63% with three).",
            _judge_spread,
        ),
        Check(
            "no_id_is_shared_by_too_many",
            "No semantic ID has more items than `codebook.capacity`; with 1, none is shared.",
            _judge_conflicts,
            blocking=False,
        ),
    ],
)
def codebook(
    params: Params,
    workspace: Workspace,
    fused_embeddings: FusedEmbeddings,
    modality_embeddings: dict[str, ModalityEmbedding],
    interactions: Interactions,
) -> Codebook:
    """Semantic IDs before and after re-assignment, and their inverse map."""
    made = build_codebook(
        fused_embeddings,
        list(modality_embeddings.values()),
        interactions,
        params.codebook,
        params.seed,
    )
    if params.codebook.frozen_from is not None:
        require_ids_hold(made, workspace)
    return made
