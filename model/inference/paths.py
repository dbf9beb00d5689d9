"""Recommend to the same users in five ways from one checkpoint, and rank the target in each.

Popularity and co-occurrence only count; embedding-only searches all allowed items exactly; SID-only
keeps the beam order; the cascade is what a submission uses. Where the cascade is search alone,
SID-only runs a beam search of its own, for as many IDs as the longest list.

All learned paths are told the action of the target, as the competition tells it. Where it does not,
a submission asks for ``cascade.default_action``; so the cascade is also measured that way.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from model import metrics
from model.inference.baselines import Cooccurrence, Popularity, last_items
from model.inference.cascade import NUM_RECOMMENDATIONS, Ranked, rank
from model.inference.loss_funnel import fates
from model.inference.recommender import ACTIONS, Proposals, Recommender

LEARNED = ("embedding", "sid", "cascade")
PATHS = ("popularity", "cooccurrence", *LEARNED)


@dataclass(frozen=True)
class PathLists:
    """What each path recommended.

    Attributes:
        users: (U,) user indices.
        targets: (U,) item ids.
        ranks: per path (U,) int64, 1-based; 0 where the target is beyond the longest cutoff.
        top_rows: per path (U, 10) int64 catalogue rows, -1 for none.
        fate: (U,) int8, what the cascade did with the target.
        untold_ranks: (U,) int64, the cascade's where it is not told the target's action.
        asked_otherwise: (U,) bool, whose target has another action than the one then asked for;
            nobody's where the network is not told any action.
    """

    users: np.ndarray
    targets: np.ndarray
    ranks: dict[str, np.ndarray]
    top_rows: dict[str, np.ndarray]
    fate: np.ndarray
    untold_ranks: np.ndarray
    asked_otherwise: np.ndarray


def rank_paths(
    recommender: Recommender,
    users: np.ndarray,
    beam_weight: float,
    cutoffs: list[int],
    *,
    counters: bool = True,
) -> PathLists:
    """Recommend to test users along every path, and rank each target in the lists.

    Args:
        recommender: the checkpoint and its catalogue.
        users: (U,) user indices with a test target.
        beam_weight: of the cascade.
        cutoffs: the longest decides how long the lists are.
        counters: include popularity and co-occurrence.
    """
    interactions, catalogue = recommender.interactions, recommender.catalogue
    # A list of the whole catalogue holds every target that a longer one would.
    longest = max(NUM_RECOMMENDATIONS, min(max(cutoffs), len(catalogue)))
    targets = np.asarray(interactions.item_ids[interactions.test_event[users]])
    counted = _counted_lists(recommender, users, longest) if counters else lambda proposals: {}
    paths = PATHS if counters else LEARNED
    ranks = {path: np.zeros(len(users), np.int64) for path in paths}
    top = {path: np.full((len(users), NUM_RECOMMENDATIONS), -1, np.int64) for path in paths}
    fate = np.zeros(len(users), np.int8)
    beams = _with_beams(recommender, longest)
    for indices, batch in recommender.batches("test", users):
        encoded = recommender.encode(batch)
        proposals = recommender.propose_encoded("test", indices, *encoded)
        own = beams is recommender
        by_beams = proposals if own else beams.propose_encoded("test", indices, *encoded)
        places = np.searchsorted(users, proposals.users)
        target_rows = catalogue.rows[targets[places]]
        ranked = rank(recommender, proposals, beam_weight=beam_weight, num_results=longest)
        lists = {
            **counted(proposals),
            "embedding": _embedding_lists(recommender, proposals, longest),
            "sid": _sid_lists(by_beams, longest),
            "cascade": ranked.rows.cpu().numpy(),
        }
        for path, rows in lists.items():
            ranks[path][places] = metrics.ranks_in_lists(rows, target_rows)
            top[path][places] = rows[:, :NUM_RECOMMENDATIONS]
        uncapped = rank(recommender, proposals, beam_weight=beam_weight, cap=0)
        fate[places] = fates_of_targets(recommender, proposals, ranked, uncapped, targets[places])
    told = np.asarray(interactions.action_types[interactions.test_event[users]])
    otherwise = told != ACTIONS[recommender.params.default_action]
    otherwise &= recommender.dataset.uses_next_action
    untold = ranks["cascade"].copy()
    untold[otherwise] = _untold_ranks(
        recommender, users[otherwise], targets[otherwise], beam_weight, longest
    )
    return PathLists(users, targets, ranks, top, fate, untold, otherwise)


def _untold_ranks(
    recommender: Recommender,
    users: np.ndarray,
    targets: np.ndarray,
    beam_weight: float,
    longest: int,
) -> np.ndarray:
    """(U,) ranks of the targets in the cascade's lists when asked for the default action."""
    ranks = np.zeros(len(users), np.int64)
    for indices, batch in recommender.batches("test", users, told=False):
        proposals = recommender.propose_encoded("test", indices, *recommender.encode(batch))
        ranked = rank(recommender, proposals, beam_weight=beam_weight, num_results=longest)
        places = np.searchsorted(users, indices)
        target_rows = recommender.catalogue.rows[targets[places]]
        ranks[places] = metrics.ranks_in_lists(ranked.rows.cpu().numpy(), target_rows)
    return ranks


def _with_beams(recommender: Recommender, num_sids: int) -> Recommender:
    """The recommender, with beam search enabled where it is off."""
    if recommender.params.num_sids:
        return recommender
    changes = {"num_sids": num_sids}
    return replace(recommender, params=recommender.params.model_copy(update=changes))


def _counted_lists(
    recommender: Recommender, users: np.ndarray, k: int
) -> Callable[[Proposals], dict[str, np.ndarray]]:
    """A function that gives the (B, k) lists of both counters for a batch of these ``users``."""
    interactions, catalogue = recommender.interactions, recommender.catalogue
    popularity = Popularity.of(catalogue.counts)
    sources, _, _ = last_items(interactions, users, "test")
    cooccurrence = Cooccurrence.count(interactions, catalogue.rows, catalogue.counts, sources)

    def lists(proposals: Proposals) -> dict[str, np.ndarray]:
        asked, seen = proposals.users, proposals.seen
        return {
            "popularity": popularity.lists(seen, len(asked), k),
            "cooccurrence": cooccurrence.lists(
                interactions, asked, "test", seen=seen, popularity=popularity, k=k
            ),
        }

    return lists


def _embedding_lists(recommender: Recommender, proposals: Proposals, k: int) -> np.ndarray:
    """Exact search, whatever ``cascade.search`` says: an index would weaken the baseline."""
    _, rows = recommender.search.exact.search(proposals.queries, k, proposals.seen)
    return rows.cpu().numpy()


def _sid_lists(proposals: Proposals, k: int) -> np.ndarray:
    """Proposals in beam order without seen ones: (B, k), -1 for none."""
    keep = (proposals.rows >= 0) & ~proposals.hidden
    order = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :k]
    rows = torch.where(keep.gather(1, order), proposals.rows.gather(1, order), -1)
    return torch.nn.functional.pad(rows, (0, k - rows.shape[1]), value=-1).cpu().numpy()


def fates_of_targets(
    recommender: Recommender,
    proposals: Proposals,
    ranked: Ranked,
    uncapped: Ranked,
    targets: np.ndarray,
) -> np.ndarray:
    """(B,) :class:`~model.inference.loss_funnel.Fate` of each user's target, an item id."""
    interactions, device = recommender.interactions, recommender.device
    return fates(
        recommender.catalogue,
        proposals,
        ranked,
        torch.from_numpy(recommender.catalogue.rows[targets]).to(device),
        torch.from_numpy(np.isin(targets, interactions.candidate_item_ids)).to(device),
        torch.from_numpy(np.isin(targets, recommender.blocked)).to(device),
        uncapped,
        has_beams=recommender.params.num_sids > 0,
    )
