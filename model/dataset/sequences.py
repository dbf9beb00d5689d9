"""Histories as packed batches: gathered by index from the memory-mapped columns, never padded.

A row is one user token and then up to ``max_length`` events in order of time. Its tokens stand one
after another with those of the other rows; ``offsets`` says where each row begins. The token at
place p of a row predicts the event that follows it.

Nothing of an event's future enters its token: the time features of the user token are 0 (the
profile carries the time of the last event), and popularity comes from the time bucket before.
Reference: 2.1 (layout), 2.2 (context features), 2.5 (next action), 2.6 (leaks).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from model.dataset.csr import positions_of
from model.dataset.interactions import EXPOSURE, Interactions
from model.dataset.item_features import ItemFeatures, ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics

Part = Literal["validation", "test", "submission"]

DAY, HOUR, MINUTE = 86_400, 3_600, 60
LONGEST_GAP_DAYS = 31
HOURS, WEEKDAYS = 24, 7
POPULARITY_CODES = 1001
ACTION_CODES, NEXT_ACTION_CODES = 3, 2  # exposure asks for nothing: its next-action code is 0
_MONDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens in all; codes are 0 for "nothing".

    Attributes:
        offsets: (B + 1,) int64, where each row's tokens begin; its first is the user token.
        lengths: (B,) int64 tokens of each row.
        rows: (T,) int64, the row of each token.
        user_codes: user features by name, (B,) int64 or (B, n) int64 for list features.
        items: features of the U distinct items of the batch, padding first.
        token_items: (T,) int64 place in ``items`` of each token's item, 0 for user tokens.
        actions: (T,) int64, 1 + action of the token's event, 0 for user tokens.
        next_actions: (T,) int64 action of the following event, 0 for an exposure or none.
        timestamps: (T,) int64 seconds; a user token has its first event's.
        gaps: (T, 3) int64 codes of days, hours, minutes since the event before.
        calendar: (T, 3) int64 codes of hour of the day, day of the week (UTC), and time bucket.
        popularity: (T,) int64 code of the item in the time bucket before the event.
        target_items: (T,) int64 place in ``items`` of the item that follows, 0 where unknown.
        target_ids: (T,) int64 its item id.
        target_actions: (T,) int64 its action.
    """

    offsets: Tensor
    lengths: Tensor
    rows: Tensor
    user_codes: dict[str, Tensor]
    items: ItemFeatures
    token_items: Tensor
    actions: Tensor
    next_actions: Tensor
    timestamps: Tensor
    gaps: Tensor
    calendar: Tensor
    popularity: Tensor
    target_items: Tensor
    target_ids: Tensor
    target_actions: Tensor

    @property
    def num_rows(self) -> int:
        return len(self.lengths)

    @property
    def last(self) -> Tensor:
        """(B,) int64, the last token of each row."""
        return self.offsets[1:] - 1

    def to(self, device: torch.device) -> Self:
        """The same on a device; item features are looked up where their store has them."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        codes = {name: column.to(device) for name, column in self.user_codes.items()}
        items = replace(self.items, ids=self.items.ids.to(device))
        return replace(self, **moved, user_codes=codes, items=items)


@dataclass(frozen=True)
class Windows:
    """Which events make the rows: the tokens of row r are the user and ``begins[r]:ends[r]``.

    Attributes:
        users: (B,) int64.
        begins: (B,) int64 first event.
        ends: (B,) int64, one past the last event that is an input.
        next_actions: (B,) int64 action asked for after the last event; -1 takes that of the
            event at ``ends``, which is then a target.
    """

    users: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    next_actions: np.ndarray


class SequenceDataset:
    """The rows of a data set, assembled a batch at a time."""

    def __init__(
        self,
        interactions: Interactions,
        statistics: ItemStatistics,
        features: ItemFeatureStore,
        network_params: Mapping[str, Any],
    ) -> None:
        """Open the columns.

        Args:
            interactions: the events.
            statistics: time buckets and popularity.
            features: of the items.
            network_params: ``max_length`` and ``features``; a context feature that is switched
                off there is not computed.
        """
        self.interactions, self.statistics, self.features = interactions, statistics, features
        self.max_length: int = network_params["max_length"]
        self._wanted: Mapping[str, Any] = network_params["features"]
        users = interactions.users
        self._user_scalars = dict(users.scalars) if self._wanted["user_features"] else {}
        self._user_arrays = (
            {name: _padded_arrays(column) for name, column in users.arrays.items()}
            if self._wanted["user_features"]
            else {}
        )

    def training_users(self) -> np.ndarray:
        """(N,) int64 users with at least one training event."""
        begins = self.interactions.offsets[:-1]
        return np.flatnonzero(self.interactions.train_end > begins)

    def training_windows(self, users: np.ndarray) -> Windows:
        """The newest training events of each user: ``max_length`` inputs and the target.

        Args:
            users: (B,) int64 users with at least one training event.
        """
        ends = np.asarray(self.interactions.train_end[users]) - 1
        begins = np.maximum(np.asarray(self.interactions.offsets[users]), ends - self.max_length)
        return Windows(users, begins, ends, np.full(len(users), -1, np.int64))

    def history_windows(self, part: Part, users: np.ndarray, default_action: int) -> Windows:
        """Everything before the target of each user; for a submission, everything.

        Args:
            part: which target.
            users: (B,) int64 users that have one.
            default_action: asked for in a submission where the input names no action.
        """
        interactions = self.interactions
        if part == "submission":
            ends = np.asarray(interactions.offsets[users + 1])
            asked = np.asarray(interactions.target_actions[users]).astype(np.int64)
            asked = np.where(asked >= 0, asked, default_action)
        else:
            events = (
                interactions.validation_event if part == "validation" else interactions.test_event
            )
            ends = np.asarray(events[users])
            asked = np.asarray(interactions.action_types[ends]).astype(np.int64)
        begins = np.maximum(np.asarray(interactions.offsets[users]), ends - self.max_length)
        return Windows(users, begins, ends, asked)

    def evaluation_batches(
        self, part: Part, users: np.ndarray, batch_size: int, *, default_action: int
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """Batches of rows of similar length: (B,) user indices and the batch.

        Args:
            part: which target the histories end before.
            users: (N,) int64.
            batch_size: rows of a batch.
            default_action: see :meth:`history_windows`.
        """
        windows = self.history_windows(part, users, default_action)
        order = np.argsort(windows.ends - windows.begins, kind="stable")
        for first in range(0, len(users), batch_size):
            chosen = order[first : first + batch_size]
            yield users[chosen], self.assemble(_take(windows, chosen))

    def assemble(self, windows: Windows, *, extra_items: np.ndarray | None = None) -> Batch:
        """Gather the rows.

        Args:
            windows: which events.
            extra_items: item ids whose features the batch shall hold as well.
        """
        interactions = self.interactions
        counts = windows.ends - windows.begins
        lengths = counts + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(np.arange(len(lengths)), lengths)
        is_item = np.ones(int(offsets[-1]), bool)
        is_item[offsets[:-1]] = False
        inputs = positions_of(windows.begins, counts)
        targets = positions_of(windows.begins, lengths)  # the event after each token
        known = np.ones(len(targets), bool)
        known[offsets[1:] - 1] = windows.next_actions < 0
        target_ids = np.zeros(len(targets), np.int64)
        target_ids[known] = interactions.item_ids[targets[known]]
        next_actions = np.zeros(len(targets), np.int64)
        next_actions[known] = interactions.action_types[targets[known]]
        next_actions[offsets[1:] - 1] = np.where(
            windows.next_actions < 0, next_actions[offsets[1:] - 1], windows.next_actions
        )
        item_ids = np.zeros(len(targets), np.int64)
        item_ids[is_item] = interactions.item_ids[inputs]
        actions = np.zeros(len(targets), np.int64)
        actions[is_item] = interactions.action_types[inputs] + 1
        timestamps = self._timestamps(windows, inputs, is_item, offsets)
        items, token_items, target_items = _distinct(item_ids, target_ids, extra_items)
        return Batch(
            offsets=torch.from_numpy(offsets),
            lengths=torch.from_numpy(lengths),
            rows=torch.from_numpy(rows),
            user_codes=self._user_codes(windows.users),
            items=self.features.gather(torch.from_numpy(items)),
            token_items=torch.from_numpy(token_items),
            actions=torch.from_numpy(actions),
            next_actions=torch.from_numpy(next_actions),
            timestamps=torch.from_numpy(timestamps),
            gaps=torch.from_numpy(self._gaps(timestamps, is_item, offsets)),
            calendar=torch.from_numpy(self._calendar(timestamps, is_item)),
            popularity=torch.from_numpy(self._popularity(item_ids, timestamps, is_item)),
            target_items=torch.from_numpy(target_items),
            target_ids=torch.from_numpy(target_ids),
            target_actions=torch.from_numpy(np.where(known, next_actions, EXPOSURE)),
        )

    def _timestamps(
        self, windows: Windows, inputs: np.ndarray, is_item: np.ndarray, offsets: np.ndarray
    ) -> np.ndarray:
        times = np.zeros(len(is_item), np.int64)
        times[is_item] = self.interactions.timestamps[inputs]
        has_event = windows.ends > windows.begins
        first = offsets[:-1][has_event]
        times[first] = times[first + 1]
        return times

    def _gaps(self, timestamps: np.ndarray, is_item: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Days, hours, minutes since the event before, each + 1; (32, 1, 1) beyond 31 days."""
        codes = np.zeros((len(timestamps), 3), np.int64)
        if not self._wanted["relative_time"]:
            return codes
        gap = np.zeros(len(timestamps), np.int64)
        gap[1:] = np.diff(timestamps)
        later = is_item.copy()
        first = offsets[:-1] + 1
        later[first[first < offsets[1:]]] = False  # the first event has none before it
        days, rest = np.divmod(gap, DAY)
        codes[:, 0] = days + 1
        codes[:, 1] = rest // HOUR + 1
        codes[:, 2] = rest % HOUR // MINUTE + 1
        codes[days > LONGEST_GAP_DAYS - 1] = (LONGEST_GAP_DAYS + 1, 1, 1)
        codes[~later] = 0
        return codes

    def _calendar(self, timestamps: np.ndarray, is_item: np.ndarray) -> np.ndarray:
        codes = np.zeros((len(timestamps), 3), np.int64)
        if not self._wanted["absolute_time"]:
            return codes
        days, seconds = np.divmod(timestamps, DAY)
        codes[:, 0] = seconds // HOUR + 1
        codes[:, 1] = (days + _MONDAY) % WEEKDAYS + 1
        codes[:, 2] = self.statistics.time_bucket(timestamps)
        codes[~is_item] = 0
        return codes

    def _popularity(
        self, item_ids: np.ndarray, timestamps: np.ndarray, is_item: np.ndarray
    ) -> np.ndarray:
        if not self._wanted["popularity"]:
            return np.zeros(len(item_ids), np.int64)
        codes = self.statistics.popularity_codes(item_ids, timestamps)
        return np.where(is_item, codes, 0).astype(np.int64)

    def _user_codes(self, users: np.ndarray) -> dict[str, Tensor]:
        columns = {**self._user_scalars, **self._user_arrays}
        return {
            name: torch.from_numpy(column[users + 1].astype(np.int64))
            for name, column in columns.items()
        }


def _take(windows: Windows, chosen: np.ndarray) -> Windows:
    return Windows(**{f.name: getattr(windows, f.name)[chosen] for f in fields(Windows)})


def _padded_arrays(column: Any) -> np.ndarray:
    longest = int(np.diff(column.offsets).max(initial=0))
    return column.padded(max(1, longest))


def _distinct(
    item_ids: np.ndarray, target_ids: np.ndarray, extra: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct ids, ascending, 0 first; and the place of each input and target in them."""
    parts = [np.zeros(1, np.int64), item_ids, target_ids]
    if extra is not None:
        parts.append(extra.astype(np.int64))
    distinct, places = np.unique(np.concatenate(parts), return_inverse=True)
    tokens = len(item_ids)
    return distinct, places[1 : tokens + 1], places[tokens + 1 : 2 * tokens + 1]
