"""Histories as packed batches: gathered by index from the memory-mapped columns, never padded.

A row is one user token and then up to ``max_length`` events in order of time. The tokens of all
rows are concatenated; ``offsets`` says where each row begins. Each token predicts the event that
follows it.

Nothing of an event's future enters its token: the time features of the user token are 0 (the
profile carries the time of the last event), and popularity comes from the time bucket before.
What is in a token: :mod:`model.dataset.packing`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatures, ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.packing import PackedTokens, Windows, pack
from model.dataset.split import Part, history_ends

POPULARITY_CODES = 1001
ACTION_CODES, NEXT_ACTION_CODES = 3, 2  # the next-action code of an exposure is 0


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens in all; codes are 0 for "nothing".

    Attributes:
        offsets: (B + 1,) int64, where each row's tokens begin; the first one is the user token.
        lengths: (B,) int64 tokens of each row.
        rows: (T,) int64, the row of each token.
        user_codes: user features by name, (B,) int64 or (B, n) int64 for list features.
        items: features of the U distinct items of the batch, padding first.
        token_items: (T,) int64 index in ``items`` of each token's item, 0 for user tokens.
        actions: (T,) int64, 1 + action of the token's event, 0 for user tokens.
        next_actions: (T,) int64 action of the following event, 0 for an exposure or none.
        timestamps: (T,) int64 seconds; a user token has its first event's.
        gaps: (T, 3) int64 codes of days, hours, minutes since the event before.
        calendar: (T, 3) int64 codes of hour of the day, day of the week (UTC), and time bucket.
        popularity: (T,) int64 code of the item in the time bucket before the event.
        target_items: (T,) int64 index in ``items`` of the item that follows, 0 where unknown.
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
        """Copy to a device; item features are looked up on their store's device."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        codes = {name: column.to(device) for name, column in self.user_codes.items()}
        items = replace(self.items, ids=self.items.ids.to(device))
        return replace(self, **moved, user_codes=codes, items=items)


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
        switched_on = self._wanted["user_features"]
        self._user_features = users if switched_on else None
        self._pack = _packer(interactions, statistics, self._wanted)

    @property
    def uses_next_action(self) -> bool:
        """Whether the network reads which action is asked for."""
        return bool(self._wanted["next_action"])

    def training_users(self) -> np.ndarray:
        """(N,) int64 users with at least one training event."""
        begins = self.interactions.offsets[:-1]
        return np.flatnonzero(self.interactions.train_end > begins)

    def training_windows(self, users: np.ndarray) -> Windows:
        """The newest training events of each user: ``max_length`` inputs and the target.

        Args:
            users: (B,) int64 users with at least one training event.
        """
        ends = np.asarray(self.interactions.train_end)[users] - 1
        begins = np.maximum(np.asarray(self.interactions.offsets)[users], ends - self.max_length)
        return Windows(users, begins, ends, np.full(len(users), -1, np.int64))

    def history_windows(
        self, part: Part, users: np.ndarray, default_action: int, *, told: bool = True
    ) -> Windows:
        """Everything before the target of each user; for a submission, everything.

        Args:
            part: which target.
            users: (B,) int64 users that have one.
            default_action: asked for in a submission where the input names no action.
            told: whether the network is told the held-out target's action; if not, it is asked for
                ``default_action``.
        """
        interactions = self.interactions
        ends = history_ends(interactions, users, part)
        if part == "submission":
            asked = np.asarray(interactions.target_actions[users]).astype(np.int64)
            asked = np.where(asked >= 0, asked, default_action)
        elif told:
            asked = np.asarray(interactions.action_types[ends]).astype(np.int64)
        else:
            asked = np.full(len(users), default_action, np.int64)
        begins = np.maximum(np.asarray(interactions.offsets[users]), ends - self.max_length)
        return Windows(users, begins, ends, asked)

    def evaluation_batches(
        self,
        part: Part,
        users: np.ndarray,
        batch_size: int,
        *,
        default_action: int,
        told: bool = True,
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """Batches of rows of similar length: (B,) user indices and the batch.

        Args:
            part: which target the histories end before.
            users: (N,) int64.
            batch_size: rows of a batch.
            default_action: see :meth:`history_windows`.
            told: see :meth:`history_windows`.
        """
        windows = self.history_windows(part, users, default_action, told=told)
        order = np.argsort(windows.ends - windows.begins, kind="stable")
        for first in range(0, len(users), batch_size):
            chosen = order[first : first + batch_size]
            yield users[chosen], self.assemble(_take(windows, chosen))

    def assemble(self, windows: Windows, *, extra_items: np.ndarray | None = None) -> Batch:
        """Gather the rows.

        Args:
            windows: which events.
            extra_items: further item ids whose features the batch must hold.
        """
        tokens = self._pack(windows, np.zeros(0, np.int64) if extra_items is None else extra_items)
        items = self.features.gather(torch.from_numpy(tokens.distinct))
        return Batch(
            lengths=torch.from_numpy(np.diff(tokens.offsets)),
            user_codes=self._user_codes(windows.users),
            items=items,
            **{
                field.name: torch.from_numpy(getattr(tokens, field.name))
                for field in fields(PackedTokens)
                if field.name != "distinct"
            },
        )

    def _user_codes(self, users: np.ndarray) -> dict[str, Tensor]:
        table, rows = self._user_features, users + 1
        if table is None:
            return {}
        codes = dict(zip(table.scalars, table.scalars.matrix[rows].T, strict=True))
        codes |= {name: column.gather(rows) for name, column in table.arrays.items()}
        return {name: torch.from_numpy(found.astype(np.int64)) for name, found in codes.items()}


def _packer(
    interactions: Interactions, statistics: ItemStatistics, wanted: Mapping[str, Any]
) -> Callable[[Windows, np.ndarray], PackedTokens]:
    """The compiled version where there is numba, else numpy; both give the same bytes."""
    if find_spec("numba"):
        from model.dataset.packing_kernels import Packer

        return Packer(interactions, statistics, wanted)
    return partial(pack, interactions, statistics, wanted)


def _take(windows: Windows, chosen: np.ndarray) -> Windows:
    return Windows(**{f.name: getattr(windows, f.name)[chosen] for f in fields(Windows)})
