"""When and how users act: lengths, times and actions of events, without their items.

Rows are right-aligned: column -1 is a user's newest event, column -k its k-th from the end.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from model.dataset.interactions import CLICK, CONVERSION, EXPOSURE
from model.dataset.synthesizer import published as world

_POSITIVE_RATE = 0.074  # clicks and conversions / events before the cut-off
_USER_CORRELATION = 0.7  # of event times: some users' hundred events span weeks, others' months
_CLICK_SHAPE, _CONVERSION_SHAPE = 6.0, 0.6  # gamma; 43 % of users never convert
_SESSION_GAP = 150.0  # mean seconds between events of one session
_DAY = 86_400
# Activity by hour, UTC: the night of UTC+8 lies at 16 to 22.
_HOURS = np.array(
    [2, 3, 4, 4, 5, 5, 4, 4, 4, 4, 4, 5, 6, 6, 5, 4, 2, 1, 0.5, 0.4, 0.4, 0.5, 1, 1.5]
)


@dataclass(frozen=True)
class Timeline:
    """Events of n users; cells left of a user's length mean nothing.

    ``lengths`` (n,) int64; ``timestamps`` (n, 100) int64 ascending; ``action_types`` (n, 100) int8.
    """

    lengths: np.ndarray
    timestamps: np.ndarray
    action_types: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """(n, 100) bool, which cells are events."""
        return np.arange(world.MAX_LENGTH) >= world.MAX_LENGTH - self.lengths[:, None]


def draw_timeline(num_users: int, rng: np.random.Generator) -> Timeline:
    """Draw lengths, actions and times that follow the published tables."""
    at_least = world.at_position(world.LENGTH_AT_LEAST)
    lengths = 1 + (rng.random(num_users)[:, None] < at_least[1:]).sum(axis=1)
    position = world.MAX_LENGTH - np.arange(world.MAX_LENGTH)  # from the end, per column
    clicks = world.at_position(world.CLICK_SHARE)
    conversions = world.at_position(world.CONVERSION_SHARE)
    before = np.minimum(1.0, (clicks + conversions) / _POSITIVE_RATE)
    num_after = (before < rng.random(num_users)[:, None]).sum(axis=1)
    after = position <= num_after[:, None]
    converting = (conversions / (clicks + conversions))[position - 1]
    action_types = _draw_actions(after, converting, rng)
    timestamps = _draw_times(after, lengths, rng)
    return Timeline(lengths.astype(np.int64), timestamps, action_types)


def before_cutoff_share() -> float:
    """Share of all events that lie before the cut-off."""
    positive = world.at_position(world.CLICK_SHARE + world.CONVERSION_SHARE)
    have = world.at_position(world.LENGTH_AT_LEAST)
    return float((np.minimum(1.0, positive / _POSITIVE_RATE) * have).sum() / have.sum())


def _draw_actions(
    after: np.ndarray, converting: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n, 100) int8; ``converting`` (100,) is the share of conversions among positive events."""
    num_users = len(after)
    clicker = rng.gamma(_CLICK_SHAPE, 1.0 / _CLICK_SHAPE, (num_users, 1))
    buyer = rng.gamma(_CONVERSION_SHAPE, 1.0 / _CONVERSION_SHAPE, (num_users, 1))
    click = np.minimum(_POSITIVE_RATE * (1.0 - converting) * clicker, 0.45)
    conversion = np.minimum(_POSITIVE_RATE * converting * buyer, 0.5)
    draw = rng.random(after.shape)
    actions = np.where(
        draw < click, CLICK, np.where(draw < click + conversion, CONVERSION, EXPOSURE)
    )
    actions[after] = EXPOSURE
    return actions.astype(np.int8)


def _draw_times(after: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 100) int64 ascending; events after the cut-off in the columns of ``after``."""
    shape = after.shape
    user = rng.standard_normal((shape[0], 1))
    own = rng.standard_normal(shape)
    quantile = ndtr(_USER_CORRELATION * user + np.sqrt(1.0 - _USER_CORRELATION**2) * own)
    times = np.where(after, time_after(quantile), time_before(quantile))
    unreal = np.arange(shape[1]) < shape[1] - lengths[:, None]
    times[unreal] = -np.inf
    times.sort(axis=1)
    times[unreal] = world.BEFORE_CUTOFF_BOUNDS[0]
    return _gather_sessions(_by_hour(times), after, rng)


def time_before(quantile: np.ndarray) -> np.ndarray:
    """Unix time below which ``quantile`` of the events before the cut-off lie."""
    volumes = np.concatenate([[0.3], world.BEFORE_CUTOFF_VOLUMES])
    log_share = np.log(np.cumsum(volumes) / volumes.sum())
    return np.interp(np.log(quantile), log_share, world.BEFORE_CUTOFF_BOUNDS)


def time_after(quantile: np.ndarray) -> np.ndarray:
    """The same for the events after the cut-off."""
    volumes = np.concatenate([[0.02], world.AFTER_CUTOFF_VOLUMES[::-1]])
    log_share = np.log(np.cumsum(volumes) / volumes.sum())
    return np.interp(np.log(1.0 - quantile), log_share, world.AFTER_CUTOFF_BOUNDS[::-1])


def _by_hour(times: np.ndarray) -> np.ndarray:
    """Move the times of each day to waking hours; their order stays."""
    days = np.floor(times / _DAY)
    share = np.concatenate([[0.0], np.cumsum(_HOURS)]) / _HOURS.sum()
    return (days + np.interp(times / _DAY - days, share, np.arange(25) / 24)) * _DAY


def _gather_sessions(times: np.ndarray, after: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let a fifth of the events follow the one before within minutes."""
    starts = rng.random(times.shape) < world.SESSION_STARTS
    starts[:, 0] = True
    starts[:, 1:] |= after[:, 1:] & ~after[:, :-1]
    head = np.maximum.accumulate(np.where(starts, np.arange(times.shape[1]), 0), axis=1)
    waited = np.cumsum(np.where(starts, 0.0, rng.exponential(_SESSION_GAP, times.shape)), axis=1)
    times = np.take_along_axis(times, head, 1) + waited - np.take_along_axis(waited, head, 1)
    times = np.where(after, times, np.minimum(times, world.CUTOFF - 1))
    times = np.floor(times).astype(np.int64)
    times.sort(axis=1)
    return times
