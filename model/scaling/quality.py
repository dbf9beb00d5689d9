"""How good a point is: losses on validation targets, and metrics on the full catalogue."""

from dataclasses import replace

import numpy as np
import torch

from model import metrics
from model.dataset.item_features import ItemFeatureStore
from model.dataset.recommendable import blocked_items
from model.dataset.sequences import Batch, SequenceDataset, Windows
from model.dataset.split import sample_test_users, user_weights
from model.inference.catalogue import build_catalogue
from model.inference.evaluation import evaluate
from model.inference.filters import allowed_items, seen_items
from model.inference.inputs import InferenceInputs
from model.inference.recommender import ACTIONS
from model.inference.search import ExactSearch
from model.network.checkpoint import Checkpoint
from model.network.onepiece import OnePiece
from model.network.thread_invariance import thread_invariant
from model.network.unit import unit
from model.params import Params
from model.scaling.grid import Point
from model.scaling.point import METRICS, PATHS
from model.tokenizer.codebook import Codebook
from model.training.inputs import TrainingInputs
from model.training.objective import Totals
from model.training.trainer import Trainer

DEPTH = 10


@torch.inference_mode()
def validation_losses(
    trainer: Trainer, network: OnePiece, users: np.ndarray, names: list[str]
) -> dict[str, float]:
    """The trained losses on the validation targets, computed as in training.

    Batches are as large as in training and always hold the same users, so that every point has the
    same negatives; only the held-out events are targets.

    Args:
        trainer: of a finished training; its objective keeps ``network`` afterwards.
        network: the trained one, with embedding tables that are not sharded.
        users: (N,) int64 that have a validation target.
        names: of the losses.
    """
    size = trainer.params.batch_size
    trainer.objective.network = network
    trainer.objective.eval()
    sums = torch.zeros(len(trainer.recorder.term_names), dtype=torch.float64)
    weights = torch.zeros_like(sums)
    for first in range(0, len(users), size):
        extra = trainer.batches.extra_items(np.random.default_rng(first))
        batch = _validation_batch(trainer, users[first : first + size], extra)
        weight, sid_weight, rows = trainer.objective.measure(batch).tolist()
        totals = Totals(max(weight, 1e-12), max(sid_weight, 1e-12), rows)
        _, terms = trainer.objective(batch, totals)
        counted = torch.tensor([weight, *[sid_weight] * (len(sums) - 2), rows])
        sums += terms.double().cpu() * counted
        weights += counted
    means = (sums / weights.clamp(min=1e-12)).tolist()
    found = dict(zip(trainer.recorder.term_names, means, strict=True))
    return {name: found[name] for name in names} if len(users) else {}


def _validation_batch(trainer: Trainer, users: np.ndarray, extra: np.ndarray | None) -> Batch:
    """Histories up to the validation event, which is the only target, and extra negatives."""
    dataset = trainer.dataset
    ends = np.asarray(dataset.interactions.validation_event[users])
    begins = np.maximum(np.asarray(dataset.interactions.offsets[users]), ends - dataset.max_length)
    windows = Windows(users, begins, ends, np.full(len(users), -1, np.int64))
    batch = dataset.assemble(windows, extra_items=extra)
    targets = torch.zeros_like(batch.target_ids)
    targets[batch.last] = batch.target_ids[batch.last]
    return replace(batch, target_ids=targets).to(trainer.world.device)


def catalogue_metrics(
    point: Point,
    checkpoint: Checkpoint,
    codebook: Codebook | None,
    inputs: TrainingInputs,
    params: Params,
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """HR@10, NDCG@10 and score of every path that the point's protocol trains.

    Args:
        point: says the protocol.
        checkpoint: the point's weights.
        codebook: semantic IDs of all items; None for a model without a decoder.
        inputs: the artefacts that it was trained from.
        params: of the point.
        device: to compute on.
    """
    if codebook is None:
        return {"embedding": _embedding_metrics(checkpoint, inputs, params, device)}
    model = InferenceInputs(
        checkpoint, codebook, inputs.interactions, inputs.statistics, inputs.embeddings
    )
    report = evaluate(model, params, device, counters=False)
    paths = PATHS if point.trains_infonce else ("sid",)  # the others rank by cosines
    return {path: {name: report.metrics[path][name] for name in METRICS} for path in paths}


def _embedding_metrics(
    checkpoint: Checkpoint, inputs: TrainingInputs, params: Params, device: torch.device
) -> dict[str, float]:
    """Exact search with the masks of the evaluation, for a model without a decoder."""
    ranks, weights = _embedding_ranks(checkpoint, inputs, params, device)
    return {
        "hr@10": metrics.hit_rate(ranks, DEPTH, weights),
        "ndcg@10": metrics.ndcg(ranks, DEPTH, weights),
        "score": metrics.competition_score(ranks, weights),
    }


def _embedding_ranks(
    checkpoint: Checkpoint, inputs: TrainingInputs, params: Params, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """(U,) ranks of the test targets, 0 beyond ten, and (U,) weights of the users."""
    interactions, section = inputs.interactions, params.evaluation_report
    users = sample_test_users(interactions, section.max_users, params.seed)
    network = checkpoint.build().to(device)
    features = ItemFeatureStore(interactions, inputs.statistics, inputs.embeddings, device)
    dataset = SequenceDataset(interactions, inputs.statistics, features, checkpoint.network_params)
    counts = inputs.statistics.counts.sum(axis=1)
    blocked = blocked_items(interactions, params.cascade.blocked_items)
    items = allowed_items(
        interactions, counts, filter_cold=params.cascade.filter_cold, blocked=blocked
    )
    catalogue = build_catalogue(
        network,
        features,
        interactions,
        inputs.statistics,
        items,
        np.zeros((interactions.num_items + 1, 1), np.int32),
        group_feature=None,
        device=device,
    )
    search = ExactSearch(catalogue.vectors, -params.cascade.logq_weight * catalogue.log_q)
    ranks = np.zeros(len(users), np.int64)
    for chosen, batch in dataset.evaluation_batches(
        "test",
        users,
        params.cascade.batch_size,
        default_action=ACTIONS[params.cascade.default_action],
    ):
        with torch.inference_mode(), thread_invariant(min(len(batch.last), len(batch.items.ids))):
            moved = batch.to(device)
            queries = unit(network.encode(moved).hidden[moved.last])
        seen = seen_items(
            interactions,
            chosen,
            "test",
            action_types=params.cascade.filter_history,
            rows=catalogue.rows,
            num_rows=len(catalogue),
        ).to(device)
        _, rows = search.search(queries, DEPTH, seen)
        targets = catalogue.rows[interactions.item_ids[interactions.test_event[chosen]]]
        found = metrics.ranks_in_lists(rows.cpu().numpy(), targets)
        ranks[np.searchsorted(users, chosen)] = found
    return ranks, user_weights(interactions, users, "test", section.action_weights)
