"""What must not be recommended: seen items, cold items, a block list, too many of one group.

Vectorised over batches; nothing here loops over users or items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.dataset.csr import positions_of
from model.dataset.interactions import Interactions
from model.dataset.recommendable import may_be_recommended
from model.dataset.split import Part, history_ends
from model.errors import InputError


def allowed_items(
    interactions: Interactions,
    training_counts: np.ndarray,
    *,
    filter_cold: bool,
    blocked: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """The items that may be recommended at all, (C,) int32 ascending.

    Args:
        interactions: gives the candidates.
        training_counts: (num_items + 1,) training events per item.
        filter_cold: leave out candidates without a training event.
        blocked: (N,) item ids that the caller rules out, see
            :func:`~model.dataset.recommendable.blocked_items`.

    Raises:
        InputError: nothing is left.
    """
    keep = may_be_recommended(
        interactions, training_counts, filter_cold=filter_cold, blocked=blocked
    )
    items = np.flatnonzero(keep).astype(np.int32)
    if len(items) == 0:
        raise InputError(
            f"none of the {len(interactions.candidate_item_ids):,} candidates may be recommended: "
            "all are cold (cascade.filter_cold) or blocked (cascade.blocked_items)"
        )
    return items


@dataclass(frozen=True)
class Seen:
    """The catalogue rows in the history of each user of a batch, as (user, row) pairs.

    Attributes:
        owners: (T,) int64, position of the user in the batch.
        rows: (T,) int64, row of the catalogue. Sorted by owner, then row; pairs are distinct.
        num_rows: of the catalogue.
    """

    owners: Tensor
    rows: Tensor
    num_rows: int

    def to(self, device: torch.device) -> "Seen":
        """The same on a device."""
        return Seen(self.owners.to(device), self.rows.to(device), self.num_rows)

    def contains(self, rows: Tensor) -> Tensor:
        """Whether each user has seen rows: (B, M) int64 -> (B, M) bool."""
        users = torch.arange(len(rows), device=rows.device)[:, None]
        wanted = users * self.num_rows + rows
        keys = self.owners * self.num_rows + self.rows
        if len(keys) == 0:
            return torch.zeros_like(rows, dtype=torch.bool)
        places = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return (keys[places] == wanted) & (rows >= 0)

    def with_rows(self, rows: Tensor) -> "Seen":
        """Add rows (B, M), -1 for none, to what each user has seen."""
        users = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
        added = (users * self.num_rows + rows)[rows >= 0]
        keys = torch.cat([self.owners * self.num_rows + self.rows, added]).unique()
        return Seen(keys // self.num_rows, keys % self.num_rows, self.num_rows)

    def of_users(self, chosen: Tensor) -> "Seen":
        """Select users of the batch, (N,) int64 ascending, and renumber them 0..N-1."""
        places = torch.searchsorted(chosen, self.owners).clamp(max=max(len(chosen) - 1, 0))
        keep = (
            chosen[places] == self.owners
            if len(chosen)
            else torch.zeros_like(self.owners, dtype=torch.bool)
        )
        return Seen(places[keep], self.rows[keep], self.num_rows)


def seen_items(
    interactions: Interactions,
    users: np.ndarray,
    part: Part,
    *,
    action_types: list[int],
    rows: np.ndarray,
    num_rows: int,
) -> Seen:
    """The catalogue rows in the users' visible histories.

    Args:
        interactions: the events.
        users: (B,) user indices.
        part: which target the history ends before.
        action_types: only events of these actions count.
        rows: (num_items + 1,) int64, catalogue row of an item, -1 where it has none.
        num_rows: of the catalogue.
    """
    starts = np.asarray(interactions.offsets[users])
    lengths = history_ends(interactions, users, part) - starts
    owners = np.repeat(np.arange(len(users)), lengths)
    events = positions_of(starts, lengths)
    counted = np.isin(interactions.action_types[events], action_types)
    found = rows[interactions.item_ids[events]]
    keep = counted & (found >= 0)
    keys = np.unique(owners[keep] * num_rows + found[keep])
    return Seen(torch.from_numpy(keys // num_rows), torch.from_numpy(keys % num_rows), num_rows)


def within_cap(groups: Tensor, cap: int) -> Tensor:
    """Keep at most ``cap`` items of one group in each list.

    Args:
        groups: (B, M) int64 group of each item in order of preference; 0 is no group and uncapped,
            negative is padding.
        cap: most items of one group; 0 keeps all.

    Returns:
        (B, M) bool.
    """
    if cap == 0:
        return groups >= 0
    ordered, order = groups.sort(dim=1, stable=True)
    kept = (_earlier_in_run(ordered) < cap) | (ordered == 0)
    return torch.zeros_like(kept).scatter(1, order, kept) & (groups >= 0)


def _earlier_in_run(ordered: Tensor) -> Tensor:
    """(B, M) sorted rows -> (B, M) int64: how many equal entries precede each one."""
    place = torch.arange(ordered.shape[1], device=ordered.device).expand_as(ordered)
    starts = torch.nn.functional.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True)
    return place - torch.where(starts, place, 0).cummax(dim=1).values


@dataclass(frozen=True)
class FullGroups:
    """Groups of which a user's list holds as many as the cap allows.

    Attributes:
        labels: (C,) int64 of each catalogue row: its group among those that are full for any user,
            numbered from 1; 0 for every other group.
        full: (B, L) bool, whether a label's group is full for the user; never so for label 0.
    """

    labels: Tensor
    full: Tensor

    def hides(self, start: int, stop: int) -> Tensor:
        """(B, stop - start) bool: catalogue rows whose group is full for a user."""
        return self.full.index_select(1, self.labels[start:stop])


def full_groups(groups: Tensor, listed: Tensor, cap: int) -> FullGroups:
    """Find the groups that are full in lists within the cap.

    Args:
        groups: (C,) int64 group of each catalogue row; 0 is no group and uncapped.
        listed: (B, M) int64 groups of the listed items; negative is padding.
        cap: most items of one group, 1 or more.
    """
    ordered = listed.sort(dim=1).values
    fills = (_earlier_in_run(ordered) == cap - 1) & (ordered > 0)
    users, places = fills.nonzero(as_tuple=True)
    found, labels = ordered[users, places].unique(return_inverse=True)
    table = torch.zeros(int(groups.max()) + 1, dtype=torch.long, device=groups.device)
    table[found] = torch.arange(1, len(found) + 1, device=groups.device)
    full = torch.zeros(len(listed), len(found) + 1, dtype=torch.bool, device=groups.device)
    full[users, labels + 1] = True
    return FullGroups(table[groups], full)


def most_within_cap(groups: Tensor, seen: Seen, num_users: int, cap: int) -> Tensor:
    """The most unseen items that each user's list can hold within the cap.

    Args:
        groups: (C,) int64 group of each catalogue row; 0 is no group and uncapped.
        seen: of the users.
        num_users: B.
        cap: most items of one group.

    Returns:
        (B,) int64.
    """
    sizes = torch.bincount(groups, minlength=1)
    caps = torch.full_like(sizes, cap)
    caps[0] = len(groups)
    kept = torch.minimum(sizes, caps)
    pairs, hidden = torch.unique(seen.owners * len(sizes) + groups[seen.rows], return_counts=True)
    owners, group = pairs // len(sizes), pairs % len(sizes)
    lost = kept[group] - torch.minimum(sizes[group] - hidden, caps[group])
    return kept.sum() - torch.zeros(num_users).to(lost).index_add_(0, owners, lost)
