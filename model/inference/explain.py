"""Why one user gets these ten: history, beams, re-scored list, and what was filtered and why."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from model.dataset.interactions import Interactions
from model.dataset.sequences import Batch
from model.dataset.split import Part, history_ends
from model.errors import InputError
from model.inference.beam_search import first_level
from model.inference.breakdowns import ACTION_NAMES
from model.inference.cascade import (
    BACK_FILL,
    BEAM,
    NUM_RECOMMENDATIONS,
    PATH_NAMES,
    Ranked,
    rank,
    rescore,
)
from model.inference.loss_funnel import Fate
from model.inference.paths import fates_of_targets
from model.inference.recommender import Proposals, Recommender
from model.params import CascadeParams

EVENTS_SHOWN = 20
BEAMS_SHOWN = 20
CANDIDATES_SHOWN = 40
FATES = {
    Fate.NOT_A_CANDIDATE: "not among the candidates",
    Fate.COLD_FILTERED: "ruled out for everyone: no training event",
    Fate.SEEN_FILTERED: "filtered: in the history",
    Fate.HIT: "recommended",
    Fate.HIT_BY_BACK_FILL: "recommended by back-fill",
    Fate.NO_SEMANTIC_ID: "not proposed: it has no semantic ID",
    Fate.NOT_AMONG_BEAMS: "not among the beams",
    Fate.CAPPED: "filtered: group cap",
    Fate.RANKED_BELOW_TEN: "ranked below ten",
    Fate.BLOCKED: "ruled out for everyone: on the block list",
}
PLACED = (Fate.HIT, Fate.HIT_BY_BACK_FILL, Fate.RANKED_BELOW_TEN)


@dataclass(frozen=True)
class Event:
    """One event of the history, newest first in a list."""

    time: str
    action: str
    item: str
    sid: tuple[int, ...]


@dataclass(frozen=True)
class Beam:
    """One semantic ID that the search found, with its probability and what it proposes.

    ``best_place`` is the highest rank of its items in the final list, 0 where none is in it.
    """

    sid: tuple[int, ...]
    probability: float
    num_items: int
    best_place: int


@dataclass(frozen=True)
class Candidate:
    """One item that was considered.

    ``place`` is its rank in the final list, 0 where it is not in it; ``verdict`` says why.
    ``log_prob`` is None where no beam proposed it.
    """

    place: int
    item: str
    sid: tuple[int, ...]
    cosine: float
    log_prob: float | None
    score: float
    verdict: str


@dataclass(frozen=True)
class Explanation:
    """One user's recommendation, taken apart.

    Attributes:
        user: raw id.
        part: which target the history ends before.
        target: raw id of the held-out item; None for a submission.
        fate: what became of it, in words; None likewise.
        history_length: events of the visible history; ``history`` holds the newest.
        history: newest first.
        first_codes: (code, probability) of the beams after level 1.
        beams: the most probable semantic IDs at the end of the search, best first.
        candidates: the recommended ones and what stood above or near them, best first.
        counts: how many items were proposed, filtered, filled up, and ruled out for everyone.
        settings: the cascade's parameters that decided.
    """

    user: str
    part: Part
    target: str | None
    fate: str | None
    history_length: int
    history: list[Event]
    first_codes: list[tuple[int, float]]
    beams: list[Beam]
    candidates: list[Candidate]
    counts: dict[str, int]
    settings: dict[str, Any]


def find_user(interactions: Interactions, raw_id: str) -> int:
    """The index of a user.

    Raises:
        InputError: no such user, with an example of an id.
    """
    index = pc.index(interactions.raw_user_ids, raw_id).as_py()
    if index < 0:
        example = interactions.raw_user_ids[0].as_py()
        raise InputError(f"no user {raw_id!r} in this data; ids look like {example!r}")
    return index


def explain_user(
    recommender: Recommender,
    codes: np.ndarray,
    raw_id: str,
    *,
    beam_weight: float,
    part: Part,
) -> Explanation:
    """Take one user's recommendation apart.

    Args:
        recommender: the checkpoint and its catalogue.
        codes: (num_items + 1, levels) semantic IDs of all items, also of those not in it.
        raw_id: of the user.
        beam_weight: of the cascade.
        part: ``submission`` explains what a submission says; ``test`` what the evaluation saw.

    Raises:
        InputError: no such user, or no such target.
    """
    interactions = recommender.interactions
    user = find_user(interactions, raw_id)
    users = np.array([user])
    if history_ends(interactions, users, part)[0] < 0:
        raise InputError(f"user {raw_id!r} has no {part} target; explain the submission instead")
    indices, batch = next(recommender.batches(part, users))
    proposals = recommender.propose_batch(part, indices, batch)
    ranked = rank(recommender, proposals, beam_weight=beam_weight)
    candidates, counts = _candidates(recommender, proposals, ranked, beam_weight)
    target, fate = None, None
    if part != "submission":
        item = int(interactions.item_ids[history_ends(interactions, users, part)[0]])
        target = interactions.raw_item_ids[item - 1].as_py()
        fate = _fate(recommender, proposals, item, beam_weight)
    history = _history(recommender, codes, user, part)
    return Explanation(
        user=raw_id,
        part=part,
        target=target,
        fate=fate,
        history_length=int(history_ends(interactions, users, part)[0] - interactions.offsets[user]),
        history=history,
        first_codes=_first_codes(recommender, batch),
        beams=_beams(recommender, proposals, ranked),
        candidates=candidates,
        counts=counts,
        settings=recommender.params.model_dump() | {"beam_weight": beam_weight},
    )


def _fate(recommender: Recommender, proposals: Proposals, item: int, beam_weight: float) -> str:
    """What became of the held-out item, and its place among the re-scored ones if it has one."""
    longest = max(proposals.rows.shape[1], NUM_RECOMMENDATIONS)
    ranked, uncapped = (
        rank(recommender, proposals, beam_weight=beam_weight, num_results=longest, cap=cap)
        for cap in (None, 0)
    )
    (fate,) = fates_of_targets(recommender, proposals, ranked, uncapped, np.array([item]))
    places = (ranked.rows[0] == int(recommender.catalogue.rows[item])).nonzero().flatten()
    words = FATES[Fate(fate)]
    return f"{words} (place {int(places[0]) + 1})" if fate in PLACED and len(places) else words


def _history(recommender: Recommender, codes: np.ndarray, user: int, part: Part) -> list[Event]:
    interactions = recommender.interactions
    end = int(history_ends(interactions, np.array([user]), part)[0])
    begin = max(int(interactions.offsets[user]), end - EVENTS_SHOWN)
    events = []
    for event in range(end - 1, begin - 1, -1):
        item = int(interactions.item_ids[event])
        sid = tuple(codes[item].tolist())
        when = datetime.fromtimestamp(int(interactions.timestamps[event]), UTC)
        events.append(
            Event(
                time=when.strftime("%Y-%m-%d %H:%M:%S"),
                action=ACTION_NAMES[interactions.action_types[event]],
                item=interactions.raw_item_ids[item - 1].as_py(),
                sid=sid if all(sid) else (),
            )
        )
    return events


@torch.inference_mode()
def _first_codes(recommender: Recommender, batch: Batch) -> list[tuple[int, float]]:
    encoded, _ = recommender.encode(batch)
    state = recommender.network.start_decoding(encoded)
    width = recommender.params.beam_width
    beams = first_level(recommender.network.decoder, state, recommender.trie, width)
    kept = beams.nodes[0] >= 0
    codes = recommender.trie.prefixes[0][beams.nodes[0][kept], 0]
    return list(zip(codes.tolist(), beams.log_probs[0][kept].exp().tolist(), strict=True))


def _beams(recommender: Recommender, proposals: Proposals, ranked: Ranked) -> list[Beam]:
    """Proposals stand in the order of the beams, the items of one semantic ID side by side."""
    rows = proposals.rows[0][proposals.rows[0] >= 0]
    if len(rows) == 0:
        return []
    sids, counts = recommender.catalogue.sids[rows].unique_consecutive(dim=0, return_counts=True)
    ends = counts.cumsum(0).tolist()
    place = _places(ranked)
    shown = []
    for sid, begin, end in zip(sids.tolist()[:BEAMS_SHOWN], [0, *ends], ends, strict=False):
        places = [place[row] for row in rows[begin:end].tolist() if row in place]
        probability = float(proposals.log_probs[0, begin].exp())
        shown.append(Beam(tuple(sid), probability, end - begin, min(places, default=0)))
    return shown


def _places(ranked: Ranked) -> dict[int, int]:
    """The rank of each catalogue row in the final list, from 1."""
    return {row: n for n, row in enumerate(ranked.rows[0].tolist(), 1) if row >= 0}


def _candidates(
    recommender: Recommender, proposals: Proposals, ranked: Ranked, beam_weight: float
) -> tuple[list[Candidate], dict[str, int]]:
    """The final ten, and the best of what is not among them with the reason."""
    catalogue, params = recommender.catalogue, recommender.params
    place = _places(ranked)
    proposed = {row: n for n, row in enumerate(proposals.rows[0].tolist()) if row >= 0}
    unfiltered = replace(proposals, hidden=torch.zeros_like(proposals.hidden))
    scores = rescore(
        unfiltered, catalogue.log_q, logq_weight=params.logq_weight, beam_weight=beam_weight
    )[0].tolist()
    capped = _capped(recommender, proposals, beam_weight)
    after_all = NUM_RECOMMENDATIONS + 1
    candidates = []
    for row in sorted({*place, *proposed}, key=lambda row: (place.get(row, after_all), row)):
        number = proposed.get(row)
        item = int(catalogue.item_ids[row])
        candidates.append(
            Candidate(
                place=place.get(row, 0),
                item=recommender.interactions.raw_item_ids[item - 1].as_py(),
                sid=tuple(catalogue.sids[row].tolist()),
                cosine=float(catalogue.vectors[row] @ proposals.queries[0]),
                log_prob=None if number is None else float(proposals.log_probs[0, number]),
                score=float(ranked.scores[0, place[row] - 1] if number is None else scores[number]),
                verdict=_recommended(int(ranked.path[0, place[row] - 1]))
                if row in place
                else _verdict(params, bool(proposals.hidden[0, number]), row in capped),
            )
        )
    counts = _counts(recommender, candidates, len(capped))
    candidates.sort(key=lambda c: (c.place or after_all, -c.score))
    return candidates[:CANDIDATES_SHOWN], counts


def _recommended(path: int) -> str:
    return f"{FATES[Fate.HIT]} ({PATH_NAMES[path]})"


def _verdict(params: CascadeParams, is_hidden: bool, is_capped: bool) -> str:
    """Why a proposal is not among the ten."""
    if is_hidden:
        return FATES[Fate.SEEN_FILTERED]
    if is_capped:
        return f"filtered: {params.max_per_group} of its {params.group_feature} above it"
    return FATES[Fate.RANKED_BELOW_TEN]


def _counts(
    recommender: Recommender, candidates: list[Candidate], num_capped: int
) -> dict[str, int]:
    verdicts = [candidate.verdict for candidate in candidates]
    total = len(recommender.interactions.candidate_item_ids)
    seen, below = FATES[Fate.SEEN_FILTERED], FATES[Fate.RANKED_BELOW_TEN]
    return {
        "candidates": total,
        "ruled out for everyone (cold or blocked)": total - len(recommender.catalogue),
        "proposed by the beams": sum(one.log_prob is not None for one in candidates),
        seen: verdicts.count(seen),
        FATES[Fate.CAPPED]: num_capped,
        below: verdicts.count(below),
        "recommended from the beams": verdicts.count(_recommended(BEAM)),
        FATES[Fate.HIT_BY_BACK_FILL]: verdicts.count(_recommended(BACK_FILL)),
    }


def _capped(recommender: Recommender, proposals: Proposals, beam_weight: float) -> set[int]:
    """Proposed rows that have as many of their group above them as the cap allows."""
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
