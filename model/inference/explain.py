"""Why one user gets these ten: history, beams, re-scored list, and what was filtered and why."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import torch

from model.dataset.interactions import Interactions
from model.dataset.split import Part, history_ends
from model.errors import InputError
from model.inference.cascade import BACK_FILL, BEAM, NUM_RECOMMENDATIONS, Ranked, rank, rescore
from model.inference.explanation import Beam, Candidate, Event, Explanation, HeldOut, Level
from model.inference.loss_funnel import Fate
from model.inference.paths import fates_of_targets
from model.inference.recommender import Proposals, Recommender
from model.network.onepiece import EncoderOutput

EVENTS_SHOWN = 20
BEAMS_SHOWN = 20
CANDIDATES_SHOWN = 40


def find_user(interactions: Interactions, raw_id: str, part: Part) -> int:
    """The index of a user who can be explained.

    Raises:
        InputError: no such user, with an example of an id, or no such target.
    """
    index = pc.index(interactions.raw_user_ids, raw_id).as_py()
    if index < 0:
        example = interactions.raw_user_ids[0].as_py()
        raise InputError(f"no user {raw_id!r} in this data; ids look like {example!r}")
    if history_ends(interactions, np.array([index]), part)[0] < 0:
        raise InputError(f"user {raw_id!r} has no {part} target; explain the submission instead")
    return index


def explain_user(
    recommender: Recommender,
    codes: np.ndarray,
    raw_id: str,
    *,
    beam_weight: float,
    part: Part,
) -> Explanation:
    """Explain one user's recommendation.

    Args:
        recommender: the checkpoint and its catalogue.
        codes: (num_items + 1, levels) semantic IDs of all items, inside the catalogue or not.
        raw_id: of the user.
        beam_weight: of the cascade.
        part: ``submission`` explains what a submission says; ``test`` what the evaluation saw.

    Raises:
        InputError: no such user, or no such target.
    """
    interactions = recommender.interactions
    user = find_user(interactions, raw_id, part)
    users = np.array([user])
    end = int(history_ends(interactions, users, part)[0])
    indices, batch = next(recommender.batches(part, users))
    encoded, queries = recommender.encode(batch)
    proposals = recommender.propose_encoded(part, indices, encoded, queries)
    ranked = rank(recommender, proposals, beam_weight=beam_weight)
    beams = _beams(recommender, proposals, ranked)
    candidates = _candidates(recommender, proposals, ranked, beam_weight)
    offered = interactions.candidate_item_ids
    num_blocked = int(np.isin(offered, recommender.blocked).sum())
    return Explanation(
        user=raw_id,
        part=part,
        target=None
        if part == "submission"
        else _held_out(recommender, proposals, int(interactions.item_ids[end]), beam_weight),
        history_length=int(end - interactions.offsets[user]),
        history=_history(interactions, codes, int(interactions.offsets[user]), end),
        levels=_levels(recommender, encoded),
        num_beams=len(beams),
        beams=beams[:BEAMS_SHOWN],
        num_scored=len(candidates),
        candidates=candidates[:CANDIDATES_SHOWN],
        num_candidates=len(offered),
        num_blocked=num_blocked,
        num_cold=len(offered) - num_blocked - len(recommender.catalogue),
        num_proposed=sum(one.log_prob is not None for one in candidates),
        fates=Counter(one.fate for one in candidates),
        settings=recommender.params.model_dump()
        | {"beam_weight": beam_weight, "blocked_items": len(recommender.blocked)},
    )


def _held_out(
    recommender: Recommender, proposals: Proposals, item: int, beam_weight: float
) -> HeldOut:
    """What became of the held-out item, with its rank among the re-scored ones if it has one."""
    longest = max(proposals.rows.shape[1], NUM_RECOMMENDATIONS)
    ranked, uncapped = (
        rank(recommender, proposals, beam_weight=beam_weight, num_results=longest, cap=cap)
        for cap in (None, 0)
    )
    (fate,) = fates_of_targets(recommender, proposals, ranked, uncapped, np.array([item]))
    place = _places(ranked).get(int(recommender.catalogue.rows[item]), 0)
    return HeldOut(_raw_id(recommender.interactions, item), Fate(fate), place)


def _history(interactions: Interactions, codes: np.ndarray, begin: int, end: int) -> list[Event]:
    """The newest of the events ``begin`` to ``end``, newest first."""
    events = []
    for event in range(end - 1, max(begin, end - EVENTS_SHOWN) - 1, -1):
        item = int(interactions.item_ids[event])
        sid = tuple(codes[item].tolist())
        events.append(
            Event(
                timestamp=int(interactions.timestamps[event]),
                action=int(interactions.action_types[event]),
                item=_raw_id(interactions, item),
                sid=sid if all(sid) else (),
            )
        )
    return events


def _raw_id(interactions: Interactions, item: int) -> str:
    return interactions.raw_item_ids[item - 1].as_py()


def _levels(recommender: Recommender, encoded: EncoderOutput) -> list[Level]:
    """The beams of a single user before the last level, as many of each as the first one has."""
    params, trie = recommender.params, recommender.trie
    if params.num_sids == 0:
        return []
    levels = []
    for codes, beams in zip(trie.prefixes[:-1], recommender.beams(encoded, 1)[:-1], strict=True):
        kept = beams.nodes[0] >= 0
        probabilities = beams.log_probs[0][kept].exp().tolist()
        prefixes = map(tuple, codes[beams.nodes[0][kept]].tolist())
        found = list(zip(prefixes, probabilities, strict=True))
        levels.append(Level(len(found), found[: params.beam_width]))
    return levels


def _beams(recommender: Recommender, proposals: Proposals, ranked: Ranked) -> list[Beam]:
    """Group the proposals, which are in the order of the beams, by semantic ID."""
    rows = proposals.rows[0][proposals.rows[0] >= 0]
    if len(rows) == 0:
        return []
    sids, counts = recommender.catalogue.sids[rows].unique_consecutive(dim=0, return_counts=True)
    ends = counts.cumsum(0).tolist()
    place = _places(ranked)
    shown = []
    for sid, begin, end in zip(sids.tolist(), [0, *ends], ends, strict=False):
        places = [place[row] for row in rows[begin:end].tolist() if row in place]
        probability = float(proposals.log_probs[0, begin].exp())
        shown.append(Beam(tuple(sid), probability, end - begin, min(places, default=0)))
    return shown


def _places(ranked: Ranked) -> dict[int, int]:
    """The rank of each catalogue row in the final list, from 1."""
    return {row: n for n, row in enumerate(ranked.rows[0].tolist(), 1) if row >= 0}


def _candidates(
    recommender: Recommender, proposals: Proposals, ranked: Ranked, beam_weight: float
) -> list[Candidate]:
    """The final ten, then everything else that was proposed, best first."""
    catalogue, params = recommender.catalogue, recommender.params
    place = _places(ranked)
    proposed = {row: n for n, row in enumerate(proposals.rows[0].tolist()) if row >= 0}
    unfiltered = replace(proposals, hidden=torch.zeros_like(proposals.hidden))
    scores = rescore(
        unfiltered, catalogue.log_q, logq_weight=params.logq_weight, beam_weight=beam_weight
    )[0].tolist()
    fates = _fates(recommender, proposals, ranked, beam_weight)
    after_all = NUM_RECOMMENDATIONS + 1
    candidates = []
    for row in sorted({*place, *proposed}, key=lambda row: (place.get(row, after_all), row)):
        number = proposed.get(row)
        candidates.append(
            Candidate(
                place=place.get(row, 0),
                item=_raw_id(recommender.interactions, int(catalogue.item_ids[row])),
                sid=tuple(catalogue.sids[row].tolist()),
                cosine=float(catalogue.vectors[row] @ proposals.queries[0]),
                log_prob=None if number is None else float(proposals.log_probs[0, number]),
                score=float(ranked.scores[0, place[row] - 1] if number is None else scores[number]),
                fate=fates[row],
            )
        )
    return sorted(candidates, key=lambda c: (c.place or after_all, -c.score))


def _fates(
    recommender: Recommender, proposals: Proposals, ranked: Ranked, beam_weight: float
) -> dict[int, Fate]:
    """What became of each catalogue row that was proposed or recommended."""
    rows, hidden = proposals.rows[0], proposals.hidden[0]
    found = dict.fromkeys(rows[rows >= 0].tolist(), Fate.RANKED_BELOW_TEN)
    # In reverse order of precedence, as in the evaluation.
    found |= dict.fromkeys(_capped(recommender, proposals, beam_weight), Fate.CAPPED)
    filled = (ranked.path[0] == BACK_FILL).tolist()
    for row, place in _places(ranked).items():
        found[row] = Fate.HIT_BY_BACK_FILL if filled[place - 1] else Fate.HIT
    return found | dict.fromkeys(rows[hidden].tolist(), Fate.SEEN_FILTERED)


def _capped(recommender: Recommender, proposals: Proposals, beam_weight: float) -> set[int]:
    """Proposed rows that the cap drops: enough of their group rank above them."""
    cap = recommender.params.max_per_group
    length = max(proposals.rows.shape[1], NUM_RECOMMENDATIONS)  # beams may propose fewer than ten
    lists = (
        rank(recommender, proposals, beam_weight=beam_weight, num_results=length, cap=tried)
        for tried in (0, cap)
    )
    everything, kept = (
        set(ranked.rows[0][ranked.path[0] == BEAM].tolist()) - {-1} for ranked in lists
    )
    return everything - kept
