"""The cascade: beam search proposes, the embedding re-ranks, filters apply, search back-fills.

The score of a proposed item is::

    cosine(user, item) - logq_weight * log q(item) + beam_weight * log p(semantic ID | user)

in units of the cosine. A back-filled item has no log p; it is ranked after all proposals, whatever
its score, and is flagged. With ``cascade.num_sids`` 0 nothing is proposed, and search alone gives
the list. Paper: section 2.1; there ``beam_weight`` is 0 and short lists are not back-filled.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.dataset.recommendable import NUM_RECOMMENDATIONS
from model.dataset.split import Part
from model.inference.catalogue import Catalogue
from model.inference.filters import Seen, full_groups, most_within_cap, within_cap
from model.inference.recommender import Proposals, Recommender
from model.inference.search import ExactSearch

FOUND_AT_ONCE = 2**22  # results of one back-fill search, over all its users: about 100 bytes each
BEAM, BACK_FILL = 0, 1
PATH_NAMES = ("beam", "back-fill")


@dataclass(frozen=True)
class Ranked:
    """Ranked lists of a batch: (B, K) each.

    Attributes:
        rows: int64 catalogue rows, best first, -1 where there are fewer.
        scores: float32, -inf where ``rows`` is -1.
        path: int8, BEAM or BACK_FILL.
    """

    rows: Tensor
    scores: Tensor
    path: Tensor


@dataclass(frozen=True)
class Recommendations:
    """Ten items for each user, in the order in which the users were given.

    Attributes:
        user_indices: (U,) int64.
        item_ids: (U, 10) int32, best first, 0 where fewer could be found.
        scores: (U, 10) float32, -inf where the item is 0.
        path: (U, 10) int8, BEAM or BACK_FILL.
        sids: (U, 10, levels) int32 semantic IDs, 0 for none.
    """

    user_indices: np.ndarray
    item_ids: np.ndarray
    scores: np.ndarray
    path: np.ndarray
    sids: np.ndarray


def recommend(
    recommender: Recommender, part: Part, users: np.ndarray, *, beam_weight: float
) -> Recommendations:
    """Recommend ten items to each of the given users.

    Args:
        recommender: the checkpoint and its catalogue.
        part: which target the histories end before.
        users: (U,) user indices, ascending.
        beam_weight: weight of the semantic ID's log-probability in the score.
    """
    shape = (len(users), NUM_RECOMMENDATIONS)
    result = Recommendations(
        user_indices=users,
        item_ids=np.zeros(shape, np.int32),
        scores=np.full(shape, -np.inf, np.float32),
        path=np.zeros(shape, np.int8),
        sids=np.zeros((*shape, recommender.trie.num_levels), np.int32),
    )
    for proposals in recommender.propose(part, users):
        ranked = rank(recommender, proposals, beam_weight=beam_weight)
        places = np.searchsorted(users, proposals.users)
        result.item_ids[places] = recommender.catalogue.items_of(ranked.rows)
        result.scores[places] = ranked.scores.cpu().numpy()
        result.path[places] = ranked.path.cpu().numpy()
        result.sids[places] = recommender.catalogue.sids_of(ranked.rows)
    return result


def rescore(
    proposals: Proposals, log_q: Tensor, *, logq_weight: float, beam_weight: float
) -> Tensor:
    """Scores of the proposals, (B, M) float32; -inf for seen items and padding."""
    present = (proposals.rows >= 0) & ~proposals.hidden
    scores = proposals.cosines - logq_weight * log_q[proposals.rows.clamp(min=0)]
    if beam_weight:
        scores = scores + beam_weight * proposals.log_probs
    return torch.where(present, scores, -torch.inf)


def rank(
    recommender: Recommender,
    proposals: Proposals,
    *,
    beam_weight: float,
    num_results: int = NUM_RECOMMENDATIONS,
    cap: int | None = None,
) -> Ranked:
    """Rank the proposals, cap groups, and back-fill to ten items by embedding search.

    Args:
        recommender: the checkpoint and its catalogue.
        proposals: from beam search.
        beam_weight: weight of the semantic ID's log-probability in the score.
        num_results: K, length of the lists, at least ten; only the first ten are back-filled,
            unless search alone gives the list. The first ten are the same for every K.
        cap: most items of one group in a list; None means ``cascade.max_per_group``.
    """
    params, catalogue = recommender.params, recommender.catalogue
    cap = params.max_per_group if cap is None else cap
    scores = rescore(
        proposals, catalogue.log_q, logq_weight=params.logq_weight, beam_weight=beam_weight
    )
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    rows = torch.where(scores > -torch.inf, proposals.rows.gather(1, order), -1)
    keep = within_cap(catalogue.groups_of(rows), cap)
    path = torch.full_like(rows, BEAM, dtype=torch.int8)
    ranked = _first(Ranked(rows, scores, path), keep, num_results)
    # Ten first, by themselves: asked for more, an index may find too few and exact search answer.
    lengths = {NUM_RECOMMENDATIONS} if params.num_sids else {NUM_RECOMMENDATIONS, num_results}
    for wanted in sorted(lengths):
        short = (ranked.rows[:, :wanted] >= 0).sum(dim=1) < wanted
        _fill_up(recommender, proposals, ranked, short.nonzero().flatten(), cap, wanted)
    return ranked


def _fill_up(
    recommender: Recommender,
    proposals: Proposals,
    ranked: Ranked,
    short: Tensor,
    cap: int,
    wanted: int,
) -> None:
    """Back-fill the short lists of some users by search, in place.

    Repeats the search for users whom the cap leaves with fewer than ``wanted`` items and who can
    get more. Exact search excludes full groups, so that every search fills a place; an index
    cannot, and is searched deeper each time, for a chunk of users at once, since the deepest search
    covers the whole catalogue.
    """
    deeper = not isinstance(recommender.search, ExactSearch)
    depth, first = wanted, slice(0, wanted)
    while len(short):
        pieces = short.split(max(1, FOUND_AT_ONCE // depth))
        open_ended = [
            _append(recommender, proposals, ranked, one, cap, first, depth) for one in pieces
        ]
        unsure = torch.cat(open_ended)
        short = _unfinished(recommender.catalogue, proposals, ranked.rows[:, first], unsure, cap)
        if deeper:
            depth = min(4 * depth, max(len(recommender.catalogue), depth + 1))


def _append(
    recommender: Recommender,
    proposals: Proposals,
    ranked: Ranked,
    chosen: Tensor,
    cap: int,
    first: slice,
    depth: int,
) -> Tensor:
    """Append the best of ``depth`` search results that are not seen, proposed or listed already.

    Returns:
        Those of the ``chosen`` users who still lack items and whose search is not exhausted.
    """
    seen = proposals.seen.of_users(chosen).with_rows(proposals.rows[chosen])
    seen = seen.with_rows(ranked.rows[chosen, first])
    scores, rows = _search(
        recommender, proposals.queries[chosen], depth, seen, ranked.rows[chosen, first], cap
    )
    joined = Ranked(
        torch.cat([ranked.rows[chosen, first], rows], dim=1),
        torch.cat([ranked.scores[chosen, first], scores], dim=1),
        torch.cat(
            [ranked.path[chosen, first], torch.full_like(rows, BACK_FILL, dtype=torch.int8)], dim=1
        ),
    )
    keep = within_cap(recommender.catalogue.groups_of(joined.rows), cap)
    filled = _first(joined, keep, first.stop)
    for name in ("rows", "scores", "path"):
        getattr(ranked, name)[chosen, first] = getattr(filled, name)
    return chosen[(filled.rows < 0).any(dim=1) & (rows[:, -1] >= 0)]


def _search(
    recommender: Recommender, queries: Tensor, depth: int, seen: Seen, listed: Tensor, cap: int
) -> tuple[Tensor, Tensor]:
    """Search for some users; exact search excludes groups that their ``listed`` (B, L) fill."""
    search, catalogue = recommender.search, recommender.catalogue
    if cap and isinstance(search, ExactSearch):
        full = full_groups(catalogue.groups, catalogue.groups_of(listed), cap)
        return search.search(queries, depth, seen, full)
    return search.search(queries, depth, seen)


def _unfinished(
    catalogue: Catalogue, proposals: Proposals, rows: Tensor, chosen: Tensor, cap: int
) -> Tensor:
    """Those of the chosen users who can still get more items within the cap."""
    if len(chosen) == 0:
        return chosen
    allowed = most_within_cap(catalogue.groups, proposals.seen.of_users(chosen), len(chosen), cap)
    found = (rows[chosen] >= 0).sum(dim=1)
    return chosen[found < allowed]


def _first(ranked: Ranked, keep: Tensor, num_results: int) -> Ranked:
    """The first ``num_results`` kept entries of each list, in order."""
    order = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :num_results]
    kept = keep.gather(1, order)
    missing = (0, num_results - order.shape[1])

    def take(values: Tensor, fill: float) -> Tensor:
        chosen = torch.where(kept, values.gather(1, order), torch.tensor(fill).to(values))
        return torch.nn.functional.pad(chosen, missing, value=fill)

    return Ranked(take(ranked.rows, -1), take(ranked.scores, -torch.inf), take(ranked.path, BEAM))
