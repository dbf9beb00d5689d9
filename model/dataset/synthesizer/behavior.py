"""Which item each event falls on: tastes, habits of several orders, and active items.

All clusters lie on a circle, each on an arc as long as its share of events. A user's event is a
point on it, and the next point comes from one of five transitions:

    anywhere   a uniform point
    taste      near one of the user's four tastes, mostly the one of this time of the week
    habit      from the last point, by a map that depends on the user's temper (hidden, drifting)
    context    from the last point, by a map that depends on where the user was before
    echo       from the last click or conversion, by a map of its own

Every map permutes equal arcs, so the clusters keep their shares whatever a user does. Clicks and
conversions are less often anywhere and closer to the taste, and conversions prefer the echo. Within
hours of the event before, users follow habit and context rather than taste. The style within a
cluster is the user's own; the item within the cell is an active one, and for clicks and conversions
preferably one that is advertised for them.
"""

from dataclasses import dataclass

import numpy as np

from model.dataset.interactions import EXPOSURE
from model.dataset.synthesizer.catalogue import Catalogue, draw_ages, launch_quantiles
from model.dataset.synthesizer.seeds import stream
from model.dataset.synthesizer.timeline import Timeline

NUM_TASTES, NUM_TEMPERS, NUM_CONTEXTS = 4, 2, 16
# Shares of anywhere, taste, habit, context and echo by action; the second table holds where
# the two events before lie close together.
_MOVEMENTS = np.array(
    [
        [
            [0.10, 0.57, 0.22, 0.04, 0.07],
            [0.02, 0.55, 0.23, 0.05, 0.15],
            [0.02, 0.33, 0.16, 0.04, 0.45],
        ],
        [
            [0.10, 0.10, 0.60, 0.14, 0.06],
            [0.02, 0.08, 0.64, 0.14, 0.12],
            [0.02, 0.06, 0.40, 0.10, 0.42],
        ],
    ]
)
_OWN_SLOT = 0.85  # of the events by taste: of the taste that belongs to the time of the week
_TASTE_SPREAD = np.array([0.006, 0.002, 0.002])  # by action, in circles
_STYLE_SPREAD = np.array([0.12, 0.04, 0.04])
_MOVE_SPREAD = 0.0005
_NEW_TASTE, _NEW_TEMPER = 0.012, 0.002  # per event
_TOGETHER_SECONDS = 3 * 3600
_DAY = 86_400
_REDRAWS = 4


@dataclass(frozen=True)
class Habits:
    """The maps of a world: each row is a permutation of equal arcs of the circle.

    ``by_temper`` (tempers, arcs), ``by_context`` (contexts, arcs), ``echo`` (1, arcs): int64.
    """

    by_temper: np.ndarray
    by_context: np.ndarray
    echo: np.ndarray


@dataclass
class Users:
    """The hidden state of n users; it changes with every event.

    ``tastes`` (n, 4) and ``last``, ``before_last``, ``positive`` (n,) are points on the circle;
    ``temper`` (n,) int64; ``style`` (n,) in 0..1.
    """

    tastes: np.ndarray
    temper: np.ndarray
    style: np.ndarray
    last: np.ndarray
    before_last: np.ndarray
    positive: np.ndarray


def draw_habits(num_clusters: int, seed: int) -> Habits:
    """The maps; a few clusters share an arc."""
    rng = stream(seed, "habits")
    arcs = int(np.clip(num_clusters // 8, 8, 4096))

    def maps(count: int) -> np.ndarray:
        return np.stack([rng.permutation(arcs) for _ in range(count)])

    return Habits(maps(NUM_TEMPERS), maps(NUM_CONTEXTS), maps(1))


def draw_users(num_users: int, rng: np.random.Generator) -> Users:
    """Users before their first event."""
    return Users(
        tastes=rng.random((num_users, NUM_TASTES)),
        temper=rng.integers(NUM_TEMPERS, size=num_users),
        style=rng.random(num_users),
        last=rng.random(num_users),
        before_last=rng.random(num_users),
        positive=rng.random(num_users),
    )


def choose_items(
    timeline: Timeline, users: Users, catalogue: Catalogue, habits: Habits, rng: np.random.Generator
) -> np.ndarray:
    """(n, 100) int32, the index of each event's item; updates ``users`` in place.

    The loop runs over the hundred columns; each step treats all users at once.
    """
    finder = _ItemFinder(catalogue)
    times, actions = timeline.timestamps, timeline.action_types
    items = np.full(times.shape, -1, np.int32)
    for column in range(times.shape[1]):
        if column >= 2:
            together = times[:, column - 1] - times[:, column - 2] < _TOGETHER_SECONDS
        else:
            together = np.zeros(len(times), bool)
        action, time = actions[:, column], times[:, column]
        slot = time_slot(times[:, max(0, column - 1)])
        point = _move(users, habits, action, together, slot, rng)
        items[:, column], point = finder.find(
            point, users.style, action, time, items[:, :column], rng
        )
        _remember(users, point, action != EXPOSURE, rng)
    return items


def _move(
    users: Users,
    habits: Habits,
    action: np.ndarray,
    together: np.ndarray,
    slot: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n,) next points."""
    size = len(action)
    rows = np.arange(size)
    limits = np.cumsum(_MOVEMENTS, axis=2)[together.astype(np.int64), action]
    movement = (rng.random(size)[:, None] > limits[:, :-1]).sum(axis=1)
    elsewhere = rng.random(size) > _OWN_SLOT
    taste = np.where(elsewhere, rng.integers(NUM_TASTES, size=size), slot)
    spread = rng.laplace(size=size)
    context = (users.before_last * NUM_CONTEXTS).astype(np.int64)
    points = np.stack(
        [
            rng.random(size),
            users.tastes[rows, taste] + _TASTE_SPREAD[action] * spread,
            _mapped(habits.by_temper, users.temper, users.last) + _MOVE_SPREAD * spread,
            _mapped(habits.by_context, context, users.last) + _MOVE_SPREAD * spread,
            _mapped(habits.echo, np.zeros(size, np.int64), users.positive) + _MOVE_SPREAD * spread,
        ]
    )
    return np.mod(points[movement, rows], 1.0)


def time_slot(times: np.ndarray) -> np.ndarray:
    """Morning, afternoon, evening and night, weekend, in UTC+8: 0..3."""
    days, seconds = np.divmod(times + 8 * 3600, _DAY)
    slot = np.clip(seconds // 3600 // 6 - 1, -1, 2) % 3
    return np.where((days + 3) % 7 >= 5, 3, slot)  # the epoch was a Thursday


def _mapped(maps: np.ndarray, which: np.ndarray, point: np.ndarray) -> np.ndarray:
    arcs = maps.shape[1]
    arc = np.minimum((point * arcs).astype(np.int64), arcs - 1)
    return (maps[which, arc] + point * arcs - arc) / arcs


def _remember(
    users: Users, point: np.ndarray, positive: np.ndarray, rng: np.random.Generator
) -> None:
    size = len(point)
    users.before_last, users.last = users.last, point
    users.positive = np.where(positive, point, users.positive)
    changing = np.flatnonzero(rng.random(size) < _NEW_TASTE)
    slot = rng.integers(NUM_TASTES, size=len(changing))
    users.tastes[changing, slot] = rng.random(len(changing))
    restless = rng.random(size) < _NEW_TEMPER
    users.temper = np.where(restless, rng.integers(NUM_TEMPERS, size=size), users.temper)


class _ItemFinder:
    """Finds an item that the user has not met from a point, a style and a time."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue
        self.times, self.shares = launch_quantiles()

    def find(
        self,
        point: np.ndarray,
        style: np.ndarray,
        action: np.ndarray,
        time: np.ndarray,
        met: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n,) items and the points where they were found; ``met`` (n, t) are earlier items.

        An item that was met already is redrawn from an ever wider range: another age, another
        style, a neighbouring cluster. After that a repeat is kept.
        """
        point, items = point.copy(), np.empty(len(point), np.int32)
        rows = np.arange(len(point))
        for attempt in range(_REDRAWS + 1):
            if attempt > 1:
                point[rows] = np.mod(point[rows] + 0.01 * attempt * rng.laplace(size=len(rows)), 1)
            spread = _STYLE_SPREAD[action[rows]] * (1 + attempt)
            own = np.mod(style[rows] + spread * rng.standard_normal(len(rows)), 1.0)
            items[rows] = self._draw(point[rows], own, action[rows], time[rows], rng)
            rows = rows[(met[rows] == items[rows, None]).any(axis=1)]
            if not len(rows):
                break
        return items, point

    def _draw(
        self,
        point: np.ndarray,
        style: np.ndarray,
        action: np.ndarray,
        time: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        lines = self.catalogue
        cluster = _owner(lines.cluster_line, point)
        cell = _owner(lines.cell_line, cluster + style)
        launch = np.interp(time - draw_ages(len(time), rng), self.times, self.shares)
        place = cell + np.minimum(launch, 1.0 - 1e-6)
        items = np.empty(len(point), np.int64)
        for kind, line in enumerate(lines.item_lines):
            asked = action == kind
            items[asked] = _owner(line, place[asked])
        return items


def _owner(line: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Index of the interval that contains each place; empty intervals contain none."""
    return np.minimum(np.searchsorted(line, place, side="right"), len(line) - 1)
