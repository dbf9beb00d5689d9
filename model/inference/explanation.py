"""The facts that explain one user's recommendation; ``explain_page`` puts them into words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.dataset.split import Part
from model.inference.loss_funnel import Fate


@dataclass(frozen=True)
class Event:
    """One event of the history.

    Attributes:
        timestamp: seconds since 1970.
        action: as in ``Interactions.action_types``.
        item: raw id.
        sid: semantic ID, empty where the item has none.
    """

    timestamp: int
    action: int
    item: str
    sid: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """What the search kept after one level of the semantic IDs, before the last.

    Attributes:
        num_prefixes: how many beginnings of semantic IDs.
        prefixes: the most probable of them with their probabilities, best first.
    """

    num_prefixes: int
    prefixes: list[tuple[tuple[int, ...], float]]


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

    Attributes:
        place: its rank in the final list, 0 where it is not in it.
        item: raw id.
        sid: semantic ID, zeros where it has none.
        cosine: of user and item.
        log_prob: of the semantic ID; None where no beam proposed it.
        score: that ranks it.
        fate: what became of it.
    """

    place: int
    item: str
    sid: tuple[int, ...]
    cosine: float
    log_prob: float | None
    score: float
    fate: Fate


@dataclass(frozen=True)
class HeldOut:
    """The item that the user took next; ``place`` is its rank of all re-scored ones, 0 for none."""

    item: str
    fate: Fate
    place: int


@dataclass(frozen=True)
class Explanation:
    """One user's recommendation, explained.

    Attributes:
        user: raw id.
        part: which target the history ends before.
        target: the held-out item; None for a submission.
        history_length: events of the visible history; ``history`` holds the newest.
        history: newest first.
        levels: of the semantic IDs, from the first to the last but one; none of search alone.
        num_beams: semantic IDs at the end of the search.
        beams: the most probable of them, best first.
        num_scored: items that were recommended or proposed.
        candidates: the recommended ones, then the best of the other proposals, best first.
        num_candidates: items that the data offers.
        num_blocked: of them on the block list.
        num_cold: others without a training event, where these are ruled out.
        num_proposed: items that the beams proposed.
        fates: how many of the proposed and the recommended items met each fate.
        settings: the cascade's parameters; the block list by its length.
    """

    user: str
    part: Part
    target: HeldOut | None
    history_length: int
    history: list[Event]
    levels: list[Level]
    num_beams: int
    beams: list[Beam]
    num_scored: int
    candidates: list[Candidate]
    num_candidates: int
    num_blocked: int
    num_cold: int
    num_proposed: int
    fates: Mapping[Fate, int]
    settings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """All of it under the names of the attributes, with fates called by theirs."""
        counts = {fate.name.lower(): number for fate, number in sorted(self.fates.items())}
        return asdict(replace(self, fates={}), dict_factory=_with_names) | {"fates": counts}


def _with_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object's attributes; a fate is called as in the evaluation's metrics."""
    return {name: v.name.lower() if isinstance(v, Fate) else v for name, v in pairs}
