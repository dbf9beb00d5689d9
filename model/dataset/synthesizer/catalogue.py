"""The items: their place in the hierarchy, popularity, active time and ids.

Items are in the order of their cells; position in that order is their index everywhere in this
package. The events of a cell fall on its items in order of their launch: an event whose time is at
quantile q of all launches goes to the item whose interval on the cell's line contains q; the
intervals are as long as the items are popular. So a popular item's burst is longer, and every item
has its expected number of events.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from model.dataset.synthesizer import published as world
from model.dataset.synthesizer.popularity import expected_counts
from model.dataset.synthesizer.seeds import stream
from model.dataset.synthesizer.timeline import before_cutoff_share, time_after, time_before
from model.params import SyntheticWorldParams

FIRST_RAW_ID = 20_000_000_000
_UNIVERSE = 1.24  # raw ids / items
_ITEMS_PER_CELL = 20
_MAX_STYLES = 32
_NUM_COARSE = 16
_CLUSTERS_PER_COARSE = 4  # at the least
_CLUSTER_SPREAD = 1.1  # of the logarithm of a cluster's items
_DAY = 86_400.0
_CANDIDATE_NOISE = 1.9
# Weight of an item by the event's action (rows: exposure, click, conversion) and by the objective
# that the item is advertised for (columns: clicks, conversions).
_DRAW = np.array([[1.0, 1.0], [2.5, 0.4], [0.4, 2.5]])
_RECENT_DAYS = 45


@dataclass(frozen=True)
class Catalogue:
    """M items: those of the training vocabulary and the cold candidates among them.

    Attributes:
        cluster: (M,) int32 ascending.
        style: (M,) int16, ascending within a cluster.
        cell: (M,) int32 ascending, cluster * num_styles + style.
        coarse_of_cluster: (C,) int32.
        group: (M,) int32 ascending; items of one group have the same vectors.
        expected: (M,) float64, expected events beyond the first; 0 for cold items.
        launch: (M,) float64, unix time around which the item is new.
        re_id: (M,) int32, 1..num_items in random order; 0 for cold items.
        raw_id: (M,) int64.
        candidate: (M,) bool.
        num_styles: styles per cluster.
        cluster_line: (C,) where each cluster ends on the unit circle of all events.
        cell_line: (cells,) cluster + share of its events in cells up to this one.
        item_lines: (3, M) by action: cell + share of its events on items up to this one.
        objective: (M,) int8, what an item is advertised for: 0 clicks, 1 conversions.
    """

    cluster: np.ndarray
    style: np.ndarray
    cell: np.ndarray
    coarse_of_cluster: np.ndarray
    group: np.ndarray
    expected: np.ndarray
    launch: np.ndarray
    re_id: np.ndarray
    raw_id: np.ndarray
    candidate: np.ndarray
    num_styles: int
    cluster_line: np.ndarray
    cell_line: np.ndarray
    item_lines: np.ndarray
    objective: np.ndarray

    def __len__(self) -> int:
        return len(self.cluster)

    @property
    def cold(self) -> np.ndarray:
        """(M,) bool, candidates without any event."""
        return self.re_id == 0

    def raw_ids_by_re_id(self) -> np.ndarray:
        """(num_items,) int64."""
        warm = ~self.cold
        raw_ids = np.empty(int(warm.sum()), np.int64)
        raw_ids[self.re_id[warm] - 1] = self.raw_id[warm]
        return raw_ids


def num_cold(params: SyntheticWorldParams) -> int:
    """How many candidates are not in the training vocabulary."""
    return round(params.num_candidates * params.cold_candidate_share)


def make_catalogue(params: SyntheticWorldParams, seed: int) -> Catalogue:
    """Draw the items of a world."""
    rng = stream(seed, "catalogue")
    total, clusters = params.num_items + num_cold(params), params.num_clusters
    styles = int(np.clip(params.num_items // (clusters * _ITEMS_PER_CELL), 1, _MAX_STYLES))
    cell = _draw_cells(total, clusters, styles, rng)
    cold = np.zeros(total, bool)
    cold[rng.choice(total, num_cold(params), replace=False)] = True
    expected = _draw_expected(params, cold, rng)
    cluster = (cell // styles).astype(np.int32)
    mass = np.bincount(cell, expected, clusters * styles)
    cluster_mass = mass.reshape(clusters, styles).sum(axis=1)
    objective = rng.integers(len(_DRAW[0]), size=total)
    item_lines = np.stack(
        [
            cell + _share_within(weight, cell, np.bincount(cell, weight, clusters * styles))
            for weight in expected * _DRAW[:, objective]
        ]
    )
    re_id = np.zeros(total, np.int32)
    re_id[~cold] = 1 + rng.permutation(params.num_items)
    launch = _launch_times(item_lines[0] - cell, expected, mass[cell])
    return Catalogue(
        cluster=cluster,
        style=(cell % styles).astype(np.int16),
        cell=cell,
        coarse_of_cluster=_draw_coarse(clusters, rng),
        group=_draw_groups(total, rng),
        expected=expected,
        launch=launch,
        re_id=re_id,
        raw_id=FIRST_RAW_ID + rng.choice(int(_UNIVERSE * total) + 1, total, replace=False),
        candidate=cold | _draw_warm_candidates(params, expected, launch, cold, rng),
        num_styles=styles,
        cluster_line=np.cumsum(cluster_mass) / cluster_mass.sum(),
        cell_line=np.repeat(np.arange(clusters), styles)
        + _share_within(mass, np.repeat(np.arange(clusters), styles), cluster_mass),
        item_lines=item_lines,
        objective=objective.astype(np.int8),
    )


@cache
def launch_quantiles() -> tuple[np.ndarray, np.ndarray]:
    """Unix times, ascending, and the share of events whose item was launched before them."""
    levels = (np.arange(1024) + 0.5) / 1024
    before = before_cutoff_share()
    early = levels < before
    times = np.concatenate(
        [
            time_before(levels[early] / before),
            time_after((levels[~early] - before) / (1.0 - before)),
        ]
    )
    ages = draw_ages(2048, stream(0, "launch quantiles"))
    shares = np.linspace(0.0, 1.0, 1025)
    return np.quantile(times[:, None] - ages, shares), shares


def draw_ages(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size,) seconds between an item's launch and one of its events.

    A few days, sometimes weeks: burst, decay and a faint long tail.
    """
    fresh = rng.gamma(2.0, 3.5 * _DAY, size)
    old = rng.gamma(1.2, 25.0 * _DAY, size)
    return np.where(rng.random(size) < 0.8, fresh, old)


def _draw_cells(total: int, clusters: int, styles: int, rng: np.random.Generator) -> np.ndarray:
    """(total,) int32 ascending: cells of uneven size."""
    cluster_size = rng.lognormal(0.0, _CLUSTER_SPREAD, clusters)
    style_share = rng.lognormal(0.0, 0.5, (clusters, styles))
    share = (cluster_size[:, None] * style_share / style_share.sum(axis=1, keepdims=True)).ravel()
    sizes = rng.multinomial(total, share / share.sum())
    return np.repeat(np.arange(clusters * styles, dtype=np.int32), sizes)


def _draw_expected(
    params: SyntheticWorldParams, cold: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(M,) float64, popularity in random order; cold items have none."""
    mean_length = world.at_position(world.LENGTH_AT_LEAST).sum()
    num_events = params.num_users * mean_length - min(params.num_items, params.num_users * 5)
    counts = expected_counts(params.num_items, num_events, params.num_users)
    expected = np.zeros(len(cold))
    expected[~cold] = rng.permutation(counts)
    return expected


def _draw_coarse(clusters: int, rng: np.random.Generator) -> np.ndarray:
    """(C,) int32 ascending: which coarse cluster each cluster belongs to; some are large."""
    num_coarse = int(np.clip(clusters // _CLUSTERS_PER_COARSE, 2, _NUM_COARSE))
    share = rng.lognormal(0.0, 0.3, num_coarse)
    sizes = 1 + rng.multinomial(clusters - num_coarse, share / share.sum())
    return np.repeat(np.arange(num_coarse, dtype=np.int32), sizes)


def _draw_groups(total: int, rng: np.random.Generator) -> np.ndarray:
    """(M,) int32 ascending: groups of items with the same creative, most of one item."""
    exponent, share = world.SHARED_GROUP_EXPONENT, world.SHARED_VECTORS
    sizes = np.floor(rng.pareto(exponent, total) + 2).clip(2, world.LARGEST_SHARED_GROUP)
    sizes = sizes.astype(np.int64)
    several = share / (share + (1.0 - share) * sizes.mean())
    sizes[rng.random(total) >= several] = 1
    return np.repeat(np.arange(total, dtype=np.int32), sizes)[:total]


def _draw_warm_candidates(
    params: SyntheticWorldParams,
    expected: np.ndarray,
    launch: np.ndarray,
    cold: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(M,) bool: popular and recent items rather than others."""
    age = (world.CUTOFF - launch) / _DAY
    score = np.log(expected + 0.1) + 2.0 * (age < _RECENT_DAYS)
    score += _CANDIDATE_NOISE * rng.gumbel(size=len(cold))
    score[cold] = -np.inf
    wanted = params.num_candidates - num_cold(params)
    chosen = np.zeros(len(cold), bool)
    chosen[np.argsort(-score, kind="stable")[:wanted]] = True
    return chosen


def _share_within(values: np.ndarray, owner: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """(N,) cumulative share of ``values`` among those of the same owner (ascending)."""
    ends = np.cumsum(values)
    sizes = np.bincount(owner, minlength=len(totals))
    last = np.cumsum(sizes) - 1
    start = np.where(last - sizes >= 0, ends[last - sizes], 0.0)
    length = ends[last] - start
    share = np.zeros(len(values))
    np.divide(ends - start[owner], length[owner], out=share, where=totals[owner] > 0)
    return share.clip(0.0, 1.0)


def _launch_times(share: np.ndarray, expected: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(M,) unix time at the middle of each item's interval (its share of its cell's events)."""
    times, shares = launch_quantiles()
    own = np.divide(expected, mass, out=np.zeros_like(expected), where=mass > 0)
    return np.interp(share - 0.5 * own, shares, times)
