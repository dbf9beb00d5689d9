"""How good the cascade is on the full catalogue, beside four simpler recommenders."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.device import inference_device
from assets.report_metadata import table
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.recommendable import require_enough_candidates
from model.inference.comparison import UNTOLD, compare_cascade, nothing_measured
from model.inference.evaluation import evaluate
from model.inference.index_cache import SEARCH_INDEX
from model.inference.inputs import InferenceInputs
from model.inference.report import PATHS, EvaluationReport
from model.network.checkpoint import Checkpoint
from model.params import Params
from model.tokenizer.codebook import Codebook

_SHOWN = ("hr@10", "ndcg@10", "mrr@10", "score", "catalogue_coverage", "novelty", "gini")


def _describe(made: EvaluationReport) -> dict[str, Any]:
    rows = [{"path": path} | {name: made.metrics[path][name] for name in _SHOWN} for path in PATHS]
    return {
        "metrics": dg.MetadataValue.md(table(rows)),
        "cascade HR@10": made.metrics["cascade"]["hr@10"],
        "cascade NDCG@10": made.metrics["cascade"]["ndcg@10"],
        "cascade NDCG@10, not told the target's action": made.metrics[UNTOLD]["ndcg@10"],
        "dagster/row_count": made.metrics["users"],
    }


def _judge_worth(made: EvaluationReport, workspace: Workspace) -> Verdict:
    model, simple = (made.metrics[path]["ndcg@10"] for path in ("cascade", "cooccurrence"))
    reason = f"NDCG@10 is {model:.4f}, that of co-occurrence counts {simple:.4f}."
    if nothing := nothing_measured(made.metrics):
        reason = nothing
    elif model <= simple:
        alone = made.metrics["embedding"]["ndcg@10"]
        reason += (
            f" Embedding search alone has {alone:.4f}: raise cascade.num_sids and beam_width."
            if alone > simple
            else " The model has learned nothing worth serving: train it for longer, or on more."
        )
    return Verdict(model > simple, reason, {"cascade": model, "cooccurrence": simple})


def _judge_cascade(made: EvaluationReport, workspace: Workspace) -> Verdict:
    keeps_up, reason = compare_cascade(made.metrics)
    return Verdict(keeps_up, reason, made.metrics["cascade_minus_embedding"])


@artifact_asset(
    group="recommendations",
    kinds={"pytorch", "faiss"},
    pool="gpu",
    describe=_describe,
    checks=[
        Check(
            "better_than_counting",
            "The cascade ranks better than co-occurrence counts, which need no training.",
            _judge_worth,
            blocking=False,
        ),
        Check(
            "keeps_up_with_embedding_search",
            "The cascade does not rank worse than exact embedding search by more than chance.",
            _judge_cascade,
            blocking=False,
        ),
    ],
)
def evaluation_report(
    params: Params,
    workspace: Workspace,
    recommender_checkpoint: Checkpoint,
    codebook: Codebook,
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modality_embeddings: dict[str, ModalityEmbedding],
) -> EvaluationReport:
    """HR, NDCG and score of popularity, co-occurrence, embedding-only, SID-only and the cascade.

    If the filters leave fewer than ten candidates, it fails before anything is measured.
    """
    require_enough_candidates(interactions, item_statistics.popularity, params.cascade)
    return evaluate(
        InferenceInputs(
            recommender_checkpoint, codebook, interactions, item_statistics, modality_embeddings
        ),
        params,
        inference_device(),
        index_folder=workspace.data / SEARCH_INDEX,
    )
