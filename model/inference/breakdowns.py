"""Metrics of each path by history length, popularity, cold or warm target, action and month."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model import metrics
from model.dataset.interactions import Interactions
from model.dataset.split import history_ends

HISTORY_EDGES = (1, 6, 11, 21, 51, 101)
POPULARITY_EDGES = (1, 2, 5, 10, 100, 1000)
ACTION_NAMES = ("exposure", "click", "conversion")


@dataclass(frozen=True)
class UserGroups:
    """One way to divide the users: ``labels`` of the groups, ``group`` (U,) index of each user."""

    name: str
    labels: list[str]
    group: np.ndarray


def user_groups(
    interactions: Interactions, counts: np.ndarray, users: np.ndarray, targets: np.ndarray
) -> list[UserGroups]:
    """Divide test users in five ways.

    Args:
        interactions: histories and targets.
        counts: (num_items + 1,) training events per item.
        users: (U,) user indices.
        targets: (U,) target item ids.
    """
    events = interactions.test_event[users]
    lengths = history_ends(interactions, users, "test") - interactions.offsets[users]
    months = np.asarray(interactions.timestamps[events]).astype("datetime64[s]")
    month_names, month = np.unique(months.astype("datetime64[M]"), return_inverse=True)
    return [
        _binned("history_length", np.asarray(lengths), HISTORY_EDGES),
        _binned("target_popularity", counts[targets], POPULARITY_EDGES),
        UserGroups("target_warmth", ["cold", "warm"], (counts[targets] > 0).astype(np.int64)),
        UserGroups("action", list(ACTION_NAMES), interactions.action_types[events]),
        UserGroups("month", [str(name) for name in month_names], month),
    ]


def breakdown_rows(
    groups: list[UserGroups],
    ranks: Mapping[str, np.ndarray],
    weights: np.ndarray,
    *,
    samples: int,
    seed: int,
) -> list[dict[str, object]]:
    """One row per division, group and path, with a 95 % interval of NDCG@10.

    The metrics of a group and the interval are None where all its users have weight zero.

    Args:
        groups: divisions of the U users.
        ranks: (U,) int64 of each path.
        weights: (U,) of the users.
        samples: bootstrap samples of each group's users.
        seed: of the bootstrap.
    """
    rows: list[dict[str, object]] = []
    for division in groups:
        for number, label in enumerate(division.labels):
            inside = division.group == number
            if not inside.any():
                continue
            weight = weights[inside]
            total = float(weight.sum())
            found = {path: rank[inside] for path, rank in ranks.items()}
            ends = _intervals(found, weight, samples, seed) if total > 0 else None
            for place, (path, rank) in enumerate(found.items()):
                row: dict[str, object] = {
                    "division": division.name,
                    "group": label,
                    "users": len(weight),
                    "weight": total,
                    "path": path,
                }
                for name, measure in _MEASURES.items():
                    row[name] = measure(rank, weight) if total > 0 else None
                interval = None if ends is None else ends[place].tolist()
                rows.append(row | {"ci95": {"ndcg@10": interval}})
    return rows


def _intervals(
    ranks: Mapping[str, np.ndarray], weights: np.ndarray, samples: int, seed: int
) -> np.ndarray:
    """(paths, 2) bootstrap interval of NDCG@10; all paths share the same samples."""
    gains = np.stack([metrics.discounted_gains(rank, 10) for rank in ranks.values()], axis=1)
    return metrics.bootstrap_intervals(gains, weights, samples=samples, seed=seed)


_MEASURES = {
    "hr@10": lambda rank, weight: metrics.hit_rate(rank, 10, weight),
    "ndcg@10": lambda rank, weight: metrics.ndcg(rank, 10, weight),
    "score": metrics.competition_score,
}


def _binned(name: str, values: np.ndarray, edges: tuple[int, ...]) -> UserGroups:
    """Groups such as "0", "1-5", ..., "101+", by their lower edges."""
    labels = [_label(0, edges[0])]
    labels += [_label(low, high) for low, high in pairwise(edges)]
    labels.append(f"{edges[-1]}+")
    return UserGroups(name, labels, np.searchsorted(edges, values, side="right"))


def _label(low: int, high: int) -> str:
    return str(low) if high == low + 1 else f"{low}-{high - 1}"
