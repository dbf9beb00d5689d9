"""A sweep over beam width and K' (number of semantic IDs): score and speed side by side.

It shows the cost and benefit of a wider beam and more semantic IDs. Every combination serves the
same users after one encoder pass; embedding-only search, exact and over inverted lists with
increasing numbers of probes, is timed beside them for comparison. Times depend on the machine: this
is a study to look at, not a reproducible artefact.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model import metrics
from model.dataset.split import sample_test_users, user_weights
from model.inference.approximate_search import IndexSearch, on_gpu
from model.inference.cascade import NUM_RECOMMENDATIONS, rank
from model.inference.champion import beam_weight_of
from model.inference.index_building import build_index
from model.inference.index_cache import SEARCH_INDEX, with_index
from model.inference.inputs import InferenceInputs
from model.inference.quota_plot import plot_quotas
from model.inference.recommender import Recommender, prepare_recommender
from model.inference.search import VectorSearch
from model.network.onepiece import EncoderOutput
from model.params import LARGEST, Params

BEAM_WIDTHS, NUM_SIDS = (5, 10, 20, 40), (48, 96, 192, 384, 768)
PROBES = (1, 4, 16, 64)  # inverted lists probed, capped at their number


@dataclass(frozen=True)
class Encoded:
    """One batch of users after the encoder."""

    users: np.ndarray
    output: EncoderOutput
    queries: Tensor


@dataclass
class Way:
    """One way of answering, what it found, and how long it took.

    Attributes:
        path: ``cascade``, ``exact`` or ``ivf``.
        beam_width: of the cascade, else 0.
        num_items: K' semantic IDs, or items, that are asked for.
        answer: gives the fetched catalogue rows (B, M) and the ten (B, 10), -1 for none.
        fetched: per batch, (B,) number of items fetched for each user: fewer than K' from a narrow
            beam, more where items share IDs.
        places: per batch, (B,) the target's place among the fetched, 0 for none.
        ranks: per batch, the target's rank among the ten, 0 for none.
        probes: inverted lists probed, 0 for other paths.
        seconds: spent, without the encoder.
    """

    path: str
    beam_width: int
    num_items: int
    answer: Callable[[Encoded], tuple[Tensor, Tensor]]
    fetched: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    ranks: list[np.ndarray] = field(default_factory=list)
    probes: int = 0
    seconds: float = 0.0

    def run(self, encoded: Encoded, targets: np.ndarray) -> None:
        """Answer and time a batch; ``targets`` are catalogue rows, -1 for none."""
        _wait(encoded.queries.device)
        start = time.perf_counter()
        rows, ten = self.answer(encoded)
        _wait(encoded.queries.device)
        self.seconds += time.perf_counter() - start
        fetched = rows.cpu().numpy()
        self.fetched.append((fetched >= 0).sum(axis=1))
        self.places.append(metrics.ranks_in_lists(fetched, targets))
        self.ranks.append(metrics.ranks_in_lists(ten.cpu().numpy(), targets))

    @property
    def mean_fetched(self) -> float:
        """Items fetched per user."""
        return float(np.concatenate(self.fetched).mean())

    def recall(self, weights: np.ndarray, most: int = LARGEST) -> float:
        """Weighted share of the users whose target is among the first ``most`` fetched."""
        return metrics.hit_rate(np.concatenate(self.places), most, weights)

    def row(self, weights: np.ndarray) -> dict[str, float | int | str]:
        """One line of the table."""
        ranks = np.concatenate(self.ranks)
        return {
            "path": self.path,
            "beam_width": self.beam_width,
            "num_items": self.num_items,
            "probes": self.probes,
            "fetched": self.mean_fetched,
            "recall": self.recall(weights),
            "hr@10": metrics.hit_rate(ranks, NUM_RECOMMENDATIONS, weights),
            "ndcg@10": metrics.ndcg(ranks, NUM_RECOMMENDATIONS, weights),
            "score": metrics.competition_score(ranks, weights),
            "users_per_second": len(ranks) / self.seconds,
        }


def study_quotas(
    recommender: Recommender,
    users: np.ndarray,
    weights: np.ndarray,
    *,
    beam_widths: Sequence[int],
    num_sids: Sequence[int],
    beam_weight: float,
) -> pd.DataFrame:
    """Measure score and speed of each beam width x K', and of embedding-only search.

    Args:
        recommender: one checkpoint; its search back-fills the cascade.
        users: (U,) user indices with a test target, ascending.
        weights: (U,) of the users.
        beam_widths: to try.
        num_sids: values of K' to try.
        beam_weight: of the cascade.

    Returns:
        Columns ``path``, ``beam_width``, ``num_items``, ``probes``, ``fetched`` (mean items per
        user), ``recall`` (target among the fetched), ``hr@10``, ``ndcg@10``, ``score``,
        ``users_per_second`` (without the encoder) and, of a cascade, ``embedding_recall``: the best
        recall that embedding-only search reaches at the same speed or faster within the first
        ``fetched`` items (rounded down) of its lists; NaN where it is never as fast.
    """
    interactions, catalogue = recommender.interactions, recommender.catalogue
    exact = recommender.search.exact
    ways = [
        Way("cascade", width, quota, _cascade(recommender, width, quota, beam_weight))
        for width in beam_widths
        for quota in num_sids
    ]
    asked: list[np.ndarray] = []
    for indices, batch in recommender.batches("test", users):
        encoded = Encoded(indices, *recommender.encode(batch))
        if not asked:
            index = build_index(exact, catalogue.item_ids, "ivf", encoded.queries, seed=0)
            # Completed by exact search, short lists would hide what the index misses.
            lists = on_gpu(IndexSearch(index, exact, complete=False), recommender.device)
            # Both answer this batch once before they are timed, so that compilation is not.
            sizes = _sizes_to_compare(ways, encoded)
            searches = [Way("exact", 0, k, _search(recommender, exact, k)) for k in sizes]
            searches += _inverted_lists(recommender, lists, sizes)
            for way in searches:
                way.answer(encoded)
            ways += searches
        events = interactions.test_event[indices]
        rows = catalogue.rows[interactions.item_ids[events]]
        asked.append(indices)
        for way in ways:
            way.run(encoded, rows)
    in_order = weights[np.searchsorted(users, np.concatenate(asked))]
    table = pd.DataFrame([way.row(in_order) for way in ways])
    return table.assign(embedding_recall=_recall_at_equal_cost(ways, in_order))


def _sizes_to_compare(cascades: Sequence[Way], encoded: Encoded) -> list[int]:
    """How many items searches fetch: every K', and the most that it brings where IDs are shared."""
    most = {way.num_items: way.num_items for way in cascades}
    for way in cascades:
        fetched = (way.answer(encoded)[0] >= 0).sum(dim=1)
        most[way.num_items] = max(most[way.num_items], int(fetched.max()))
    return sorted({*most, *most.values()})


def _recall_at_equal_cost(ways: Sequence[Way], weights: np.ndarray) -> list[float]:
    """The recall of embedding-only search for each way of a cascade, NaN for other ways."""
    searches = [way for way in ways if way.path != "cascade"]
    found = []
    for way in ways:
        rivals = [one for one in searches if way.path == "cascade" and one.seconds <= way.seconds]
        recalls = [one.recall(weights, most=int(way.mean_fetched)) for one in rivals]
        found.append(max(recalls, default=np.nan))
    return found


def _cascade(
    recommender: Recommender, beam_width: int, num_sids: int, beam_weight: float
) -> Callable[[Encoded], tuple[Tensor, Tensor]]:
    changes = {"beam_width": beam_width, "num_sids": num_sids}
    chosen = replace(recommender, params=recommender.params.model_copy(update=changes))

    def answer(encoded: Encoded) -> tuple[Tensor, Tensor]:
        proposals = chosen.propose_encoded("test", encoded.users, encoded.output, encoded.queries)
        ranked = rank(chosen, proposals, beam_weight=beam_weight)
        return torch.where(proposals.hidden, -1, proposals.rows), ranked.rows

    return answer


def _search(
    recommender: Recommender, search: VectorSearch, k: int
) -> Callable[[Encoded], tuple[Tensor, Tensor]]:
    def answer(encoded: Encoded) -> tuple[Tensor, Tensor]:
        seen = recommender.seen("test", encoded.users)
        _, rows = search.search(encoded.queries, max(k, NUM_RECOMMENDATIONS), seen)
        return rows[:, :k], rows[:, :NUM_RECOMMENDATIONS]

    return answer


def _inverted_lists(
    recommender: Recommender, search: IndexSearch, num_items: Sequence[int]
) -> list[Way]:
    """One way for each number of probes and of items."""
    index = search.index.index

    def with_probes(probes: int, k: int) -> Callable[[Encoded], tuple[Tensor, Tensor]]:
        answer = _search(recommender, search, k)

        def probing(encoded: Encoded) -> tuple[Tensor, Tensor]:
            index.nprobe = probes
            return answer(encoded)

        return probing

    probes = sorted({min(number, search.index.facts["lists"]) for number in PROBES})
    return [
        Way("ivf", 0, k, with_probes(number, k), probes=number)
        for number in probes
        for k in num_items
    ]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def study_run(
    params: Params,
    data: Path,
    device: torch.device,
    beam_widths: Sequence[int] = BEAM_WIDTHS,
    num_sids: Sequence[int] = NUM_SIDS,
) -> pd.DataFrame:
    """Study beam widths and quotas on the test users of a finished run's evaluation.

    Args:
        params: sections ``seed``, ``cascade``, ``evaluation_report`` and ``modality_embeddings``.
        data: the run's data folder; its search index is cached there, as a submission's is.
        device: to compute on.
        beam_widths: tried beside the run's own.
        num_sids: K' tried beside the run's own.

    Raises:
        InputError: an artefact is missing or damaged, no user has a test target, or every target's
            action has weight 0.
    """
    section = params.evaluation_report
    beam_weight = beam_weight_of(data / "evaluation_report", params.cascade)
    inputs = InferenceInputs.load(data, data, params.modality_embeddings.modalities)
    users = sample_test_users(inputs.interactions, section.max_users, params.seed)
    # Fails now rather than after hours of study without a score.
    weights = user_weights(inputs.interactions, users, "test", section.action_weights)
    recommender = prepare_recommender(inputs, params.cascade, device)
    recommender, _ = with_index(recommender, data / SEARCH_INDEX)
    return study_quotas(
        recommender,
        users,
        weights,
        beam_widths=sorted({*beam_widths, params.cascade.beam_width}),
        num_sids=sorted({*num_sids, params.cascade.num_sids} - {0}),
        beam_weight=beam_weight,
    )


def save_study(table: pd.DataFrame, folder: Path) -> None:
    """Write quota.csv and quota.png (score and recall over users per second)."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "quota.csv", index=False)
    plot_quotas(table, folder / "quota.png")
