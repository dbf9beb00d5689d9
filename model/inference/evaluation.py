"""The full-catalogue evaluation: five paths, one checkpoint, one split.

Every test user's target competes with all allowed candidates. Seen items are masked as
``cascade.filter_history`` says, for all paths alike. A target that the mask or the cold filter
removes is a miss, counted as filtered; one outside the candidate set is a miss, counted
separately. Paper: section 4.3, which has no such table; weights: the competition's second round.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model import metrics
from model.dataset.interactions import CLICK, CONVERSION, EXPOSURE
from model.dataset.split import sample_test_users, sample_users, user_weights
from model.inference.beam_weight import GRID, Tuning, tune_beam_weight
from model.inference.breakdowns import breakdown_rows, user_groups
from model.inference.comparison import UNTOLD
from model.inference.index_cache import with_index
from model.inference.inputs import InferenceInputs
from model.inference.loss_funnel import Fate, count_fates
from model.inference.paths import PathLists, rank_paths
from model.inference.recommender import Recommender, prepare_recommender
from model.inference.report import EvaluationReport
from model.params import EvaluationReportParams, Params


def evaluate(
    inputs: InferenceInputs,
    params: Params,
    device: torch.device,
    *,
    index_folder: Path | None = None,
    counters: bool = True,
) -> EvaluationReport:
    """Measure popularity, co-occurrence, embedding-only, SID-only and the cascade.

    Args:
        inputs: the recommender and its data.
        params: sections ``seed``, ``cascade`` and ``evaluation_report`` are read.
        device: to compute on.
        index_folder: keeps the search index, see :func:`~model.inference.index_cache.with_index`.
        counters: whether to measure popularity and co-occurrence too; without them a report cannot
            be saved.

    Raises:
        InputError: no test user, no validation user, or no weight on any target's action.
    """
    section = params.evaluation_report
    users = sample_test_users(inputs.interactions, section.max_users, params.seed)
    # Refuse before the catalogue is built.
    weights = user_weights(inputs.interactions, users, "test", section.action_weights)
    recommender = prepare_recommender(inputs, params.cascade, device)
    recommender, index_facts = with_index(recommender, index_folder)
    tuning = choose_beam_weight(recommender, params)
    cutoffs = section.cutoffs
    lists = rank_paths(recommender, users, tuning.beam_weight, cutoffs, counters=counters)
    counts = inputs.statistics.counts.sum(axis=1)
    report = summarise(recommender, counts, lists, weights, tuning, section, seed=params.seed)
    return replace(report, metrics=report.metrics | {"search": index_facts})


def choose_beam_weight(recommender: Recommender, params: Params) -> Tuning:
    """The beam weight, given or tuned, and the ranks of a seeded sample of validation targets."""
    given, section = params.cascade.beam_weight, params.evaluation_report
    events = recommender.interactions.validation_event
    users = sample_users(events, section.max_users, params.seed)
    grid = GRID if given == "validation" else (given,)
    if params.cascade.num_sids == 0:
        grid = (0.0,)  # nothing to blend
    return tune_beam_weight(recommender, users, section.action_weights, grid)


def summarise(
    recommender: Recommender,
    training_counts: np.ndarray,
    lists: PathLists,
    weights: np.ndarray,
    tuning: Tuning,
    section: EvaluationReportParams,
    *,
    seed: int,
) -> EvaluationReport:
    """Turn lists into metrics.

    Args:
        recommender: that made the lists.
        training_counts: (num_items + 1,) training events per item.
        lists: of every path that is measured.
        weights: (U,) of the users.
        tuning: where the beam's weight came from.
        section: cutoffs and bootstrap samples.
        seed: of the bootstrap.
    """
    catalogue = recommender.catalogue
    paths = {path: _path_metrics(catalogue.log_q, rows) for path, rows in lists.top_rows.items()}
    paths[UNTOLD] = {"users": int(lists.asked_otherwise.sum())}
    ranks = lists.ranks | {UNTOLD: lists.untold_ranks}
    _add_rank_metrics(paths, ranks, weights, section, seed)
    _add_novelty_intervals(paths, catalogue.log_q, lists.top_rows, section, seed)
    groups = user_groups(recommender.interactions, training_counts, lists.users, lists.targets)
    losses = count_fates(lists.fate, weights)
    masked = sorted(set(recommender.params.filter_history))
    summary = {
        "users": len(lists.users),
        "weight": float(weights.sum()),
        "candidates": len(recommender.interactions.candidate_item_ids),
        "allowed_items": len(catalogue),
        "legal_sids": recommender.trie.num_sids,
        "masked_actions": masked,
        "seen_masked": masked == [EXPOSURE, CLICK, CONVERSION],
        "cold_filtered": recommender.params.filter_cold,
        "targets_not_candidates": int((lists.fate == Fate.NOT_A_CANDIDATE).sum()),
        "beam_weight": tuning.beam_weight,
        "beam_weight_tuned": len(tuning.table) > 1,
        "validation_users": tuning.users,
        "validation": _validation_metrics(tuning, section, seed),
        "cascade_losses": losses,
        "search_alone": recommender.params.num_sids == 0,
        **paths,
    }
    return EvaluationReport(
        metrics=summary,
        breakdowns=breakdown_rows(
            groups, lists.ranks, weights, samples=section.bootstrap_samples, seed=seed
        ),
        tuning=tuning.table,
    )


def _validation_metrics(
    tuning: Tuning, section: EvaluationReportParams, seed: int
) -> dict[str, object]:
    """Metrics of the validation users' proposals, with intervals: models are compared by them."""
    gains = _gains(tuning.ranks, [10])
    intervals = metrics.bootstrap_intervals(
        np.stack(list(gains.values()), axis=1),
        tuning.weights,
        samples=section.bootstrap_samples,
        seed=seed,
    )
    found: dict[str, object] = {
        name: metrics.weighted_mean(column, tuning.weights) for name, column in gains.items()
    }
    return found | {"ci95": dict(zip(gains, intervals.tolist(), strict=True))}


def _path_metrics(log_q: torch.Tensor, top_rows: np.ndarray) -> dict[str, object]:
    """Metrics of a path's lists, without the targets: coverage, novelty in bits, Gini."""
    shown = top_rows[top_rows >= 0]
    counts = np.bincount(shown, minlength=len(log_q))
    novelty = _bits(log_q)[shown]
    return {
        "catalogue_coverage": float((counts > 0).mean()),
        "novelty": float(novelty.mean()) if len(shown) else 0.0,
        "gini": metrics.gini(counts),
    }


def _add_rank_metrics(
    paths: dict[str, dict[str, object]],
    ranks: Mapping[str, np.ndarray],
    weights: np.ndarray,
    params: EvaluationReportParams,
    seed: int,
) -> None:
    """Fill in hr@k, ndcg@k, mrr@k, score and their intervals; add the paired difference."""
    names, columns = [], []
    for path, found in ranks.items():
        for name, gains in _gains(found, params.cutoffs).items():
            names.append((path, name))
            columns.append(gains)
    for name, gains in _gains(ranks["cascade"], [10]).items():
        names.append(("cascade_minus_embedding", name))
        columns.append(gains - _gains(ranks["embedding"], [10])[name])
    paths["cascade_minus_embedding"] = {}
    gains = np.stack(columns, axis=1)
    intervals = metrics.bootstrap_intervals(
        gains, weights, samples=params.bootstrap_samples, seed=seed
    )
    for (path, name), column, interval in zip(names, gains.T, intervals, strict=True):
        paths[path][name] = metrics.weighted_mean(column, weights)
        ends = paths[path].setdefault("ci95", {})
        assert isinstance(ends, dict)
        ends[name] = interval.tolist()


def _add_novelty_intervals(
    paths: Mapping[str, dict[str, object]],
    log_q: torch.Tensor,
    top_rows: Mapping[str, np.ndarray],
    params: EvaluationReportParams,
    seed: int,
) -> None:
    """Add novelty intervals from the same samples; a user's weight is their number of items."""
    rows = np.stack(list(top_rows.values()), axis=1)  # (U, paths, 10)
    shown = rows >= 0
    num_shown = shown.sum(axis=2)
    means = np.where(shown, _bits(log_q)[rows], 0.0).sum(axis=2) / np.maximum(num_shown, 1)
    intervals = metrics.bootstrap_intervals(
        means, num_shown, samples=params.bootstrap_samples, seed=seed
    )
    for path, interval in zip(top_rows, intervals, strict=True):
        ends = paths[path]["ci95"]
        assert isinstance(ends, dict)
        ends["novelty"] = interval.tolist()


def _bits(log_q: torch.Tensor) -> np.ndarray:
    """(C,) self-information of each item, in bits."""
    return -log_q.cpu().numpy() / np.log(2.0)


def _gains(ranks: np.ndarray, cutoffs: list[int]) -> dict[str, np.ndarray]:
    gains: dict[str, np.ndarray] = {}
    for k in cutoffs:
        gains[f"hr@{k}"] = metrics.hits(ranks, k)
        gains[f"ndcg@{k}"] = metrics.discounted_gains(ranks, k)
        gains[f"mrr@{k}"] = metrics.reciprocal_ranks(ranks, k)
    return gains | {"score": metrics.competition_gains(ranks)}
