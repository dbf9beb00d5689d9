"""A recommender without a network: random tables in its place, small enough to enumerate."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from model.dataset.features import FeatureTable, ScalarColumns
from model.dataset.interactions import Interactions
from model.dataset.recommendable import blocked_items
from model.inference.catalogue import Catalogue
from model.inference.recommender import Recommender
from model.inference.search import ExactSearch
from model.inference.trie import Trie, build_trie
from model.params import CascadeParams

DIM = 6


class TableDecoder:
    """Random queries per user and prefix; the state is the list of users."""

    def __init__(self, sizes: tuple[int, ...], seed: int = 0) -> None:
        self.sizes, self.seed = sizes, seed
        generator = torch.Generator().manual_seed(seed)
        self.weights = [torch.randn(size + 1, DIM, generator=generator) for size in sizes]
        self.biases = [torch.randn(size + 1, generator=generator) for size in sizes]

    def query(self, user: int, prefix: tuple[int, ...]) -> torch.Tensor:
        seed = hash((self.seed, user, prefix)) % 2**31
        return torch.randn(DIM, generator=torch.Generator().manual_seed(seed))

    def level1_logits(self, state: list[int]) -> torch.Tensor:
        queries = torch.stack([self.query(user, ()) for user in state])
        return (queries @ self.weights[0].T + self.biases[0])[:, 1:]

    def expand(self, state: list[int], prefixes: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [
                torch.stack([self.query(user, tuple(prefix)) for prefix in row])
                for user, row in zip(state, prefixes.tolist(), strict=True)
            ]
        )

    def output_weight(self, level: int) -> torch.Tensor:
        return self.weights[level - 1]

    def output_bias(self, level: int) -> torch.Tensor:
        return self.biases[level - 1]

    def log_probs(
        self, user: int, sids: set[tuple[int, ...]], beam_width: int, num_sids: int
    ) -> dict[tuple[int, ...], float]:
        """The oracle: joint log-probabilities of all legal IDs under the beams, in a loop."""
        beams: dict[tuple[int, ...], float] = {(): 0.0}
        last = len(self.sizes) - 1
        for level in range(len(self.sizes)):
            children: dict[tuple[int, ...], float] = {}
            for prefix, log_prob in beams.items():
                legal = sorted({sid[level] for sid in sids if sid[:level] == prefix})
                logits = self.weights[level] @ self.query(user, prefix) + self.biases[level]
                pool = list(range(1, self.sizes[0] + 1)) if level == 0 else legal
                normaliser = torch.logsumexp(logits[pool], 0)
                for code in legal:
                    children[*prefix, code] = log_prob + float(logits[code] - normaliser)
            width = beam_width if level == 0 else max(beam_width, num_sids)
            width = len(children) if level == last else width
            best = sorted(children, key=lambda prefix: -children[prefix])[:width]
            beams = {prefix: children[prefix] for prefix in best}
        return beams


@dataclass
class Encoded:
    hidden: torch.Tensor
    users: list[int]


@dataclass
class FakeBatch:
    users: np.ndarray
    last: torch.Tensor
    told: bool = True

    @property
    def items(self) -> SimpleNamespace:
        return SimpleNamespace(ids=self.last)  # as many as users

    def to(self, device: torch.device) -> "FakeBatch":
        return self


class FakeDataset:
    """Batches in an order that is not the users' own, as length buckets give it."""

    uses_next_action = True

    def evaluation_batches(
        self,
        part: str,
        users: np.ndarray,
        batch_size: int,
        *,
        default_action: int,
        told: bool,
    ) -> Iterator[tuple[np.ndarray, FakeBatch]]:
        shuffled = users[::-1]
        for start in range(0, len(users), batch_size):
            chosen = shuffled[start : start + batch_size]
            yield chosen, FakeBatch(chosen, 2 * torch.arange(len(chosen)) + 1, told)


class FakeNetwork:
    """Each user's vector from a table, at the last of two positions; its opposite if not told."""

    def __init__(self, user_vectors: torch.Tensor, decoder: TableDecoder) -> None:
        self.user_vectors, self.decoder = user_vectors, decoder

    def encode(self, batch: FakeBatch) -> Encoded:
        sign = 1 if batch.told else -1
        vectors = sign * self.user_vectors[torch.from_numpy(batch.users.copy())]
        tokens = torch.stack([torch.randn_like(vectors), vectors], 1).flatten(0, 1)
        return Encoded(tokens, batch.users.tolist())

    def start_decoding(self, encoded: Encoded) -> list[int]:
        return encoded.users


def cascade_params(**changes: Any) -> CascadeParams:
    values: dict[str, Any] = {
        "beam_width": 3,
        "num_sids": 6,
        "filter_history": [0, 1, 2],
        "filter_cold": True,
        "logq_weight": 0.0,
        "beam_weight": 0.0,
        "max_per_group": 0,
        "group_feature": "102",
        "default_action": "click",
        "batch_size": 4,
        "search": "exact",
        "blocked_items": [],
    }
    return CascadeParams(**(values | changes))


def random_interactions(num_users: int, num_items: int, seed: int = 0) -> Interactions:
    """Histories of one to nine events, the last one the test target, the one before validation."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 10, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    num_events = int(offsets[-1])
    return Interactions(
        offsets=offsets,
        item_ids=generator.integers(1, num_items + 1, num_events).astype(np.int32),
        action_types=generator.integers(0, 3, num_events).astype(np.int8),
        timestamps=1_740_000_000 + 86_400 * np.arange(num_events),
        train_end=offsets[1:] - 2,
        validation_event=offsets[1:] - 2,
        test_event=offsets[1:] - 1,
        target_actions=np.full(num_users, -1, np.int8),
        candidate_item_ids=np.arange(1, num_items + 1, dtype=np.int32),
        num_known_items=num_items,
        items=FeatureTable(
            num_items + 1,
            ScalarColumns(["102"], generator.integers(0, 5, (num_items + 1, 1)).astype(np.int32)),
            {},
            {"102": 4},
        ),
        users=FeatureTable.without_features(num_users),
        raw_item_ids=pa.array([str(500 + i) for i in range(num_items)], pa.large_string()),
        raw_user_ids=pa.array([f"user_{u:03d}" for u in range(num_users)], pa.large_string()),
    )


def training_counts(interactions: Interactions) -> np.ndarray:
    """(num_items + 1,) events before each user's ``train_end``, in a loop."""
    counts = np.zeros(interactions.num_items + 1, np.int64)
    for user in range(interactions.num_users):
        for event in range(interactions.offsets[user], interactions.train_end[user]):
            counts[interactions.item_ids[event]] += 1
    return counts


def trie_of(codes: np.ndarray) -> Trie:
    """A trie whose items are all as welcome."""
    return build_trie(codes, priority=np.zeros(len(codes)))


def fake_recommender(
    interactions: Interactions,
    params: CascadeParams,
    *,
    sizes: tuple[int, ...] = (4, 5),
    seed: int = 0,
    without_sid: int = 0,
) -> Recommender:
    """Random vectors and semantic IDs; the first ``without_sid`` items have none."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    counts = training_counts(interactions)
    codes = np.stack(
        [generator.integers(1, size + 1, interactions.num_items + 1) for size in sizes], axis=1
    )
    codes[: without_sid + 1] = 0
    allowed = np.zeros(interactions.num_items + 1, bool)
    allowed[interactions.candidate_item_ids] = True
    if params.filter_cold:
        allowed &= counts > 0
    blocked = blocked_items(interactions, params.blocked_items)
    allowed[blocked] = False
    items = np.flatnonzero(allowed).astype(np.int32)
    rows = np.full(interactions.num_items + 1, -1, np.int64)
    rows[items] = np.arange(len(items))
    log_q = torch.from_numpy(np.log((counts[items] + 1) / (counts.sum() + 1)).astype(np.float32))
    catalogue = Catalogue(
        item_ids=items,
        rows=rows,
        vectors=F.normalize(torch.randn(len(items), DIM), dim=-1),
        log_q=log_q,
        counts=counts[items],
        groups=torch.from_numpy(interactions.items.scalars["102"][items].astype(np.int64)),
        sids=torch.from_numpy(codes[items]),
    )
    network: Any = FakeNetwork(torch.randn(interactions.num_users, DIM), TableDecoder(sizes, seed))
    dataset: Any = FakeDataset()
    return Recommender(
        network=network,
        dataset=dataset,
        interactions=interactions,
        blocked=blocked,
        catalogue=catalogue,
        trie=build_trie(codes[items], priority=counts[items]),
        search=ExactSearch(catalogue.vectors, -params.logq_weight * log_q),
        params=params,
        device=torch.device("cpu"),
    )
