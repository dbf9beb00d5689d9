"""Two baselines without learning, which every model has to beat, counted on the training part.

Popularity: the items with most training events. Co-occurrence: items that occurred near those that
a user touched last. For each pair at distance d <= 5 in a training history the later item gains 1/d
from the earlier one, and the earlier ``BACKWARD`` / d from the later; an item's column is divided
by sqrt(count + 3); a user's score is the sum over the last ten items, the k-th newest weighing
0.8^k, plus a very small weight on popularity.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from model.dataset.interactions import Interactions
from model.dataset.split import Part, history_ends
from model.inference.filters import Seen

MAX_DISTANCE = 5
BACKWARD = 0.3
DAMPING = 3.0
LAST_ITEMS, DECAY = 10, 0.8
POPULARITY_WEIGHT = 1e-6
EVENTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Popularity:
    """Catalogue rows by training events, most first.

    ``order`` (C,) int64; ties are in the order of the catalogue.
    """

    order: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Self:
        """From (C,) training events per catalogue row."""
        return cls(np.argsort(-counts, kind="stable"))

    def lists(self, seen: Seen, num_users: int, k: int) -> np.ndarray:
        """The k most popular unseen rows of each user, (B, k) int64, -1 where there are fewer."""
        owners, rows = seen.owners.cpu().numpy(), seen.rows.cpu().numpy()
        most_seen = np.bincount(owners, minlength=1).max(initial=0)
        first = self.order[: k + most_seen]
        place = np.full(seen.num_rows, -1)
        place[first] = np.arange(len(first))
        hidden = np.zeros((num_users, len(first)), bool)
        inside = place[rows] >= 0
        hidden[owners[inside], place[rows[inside]]] = True
        chosen = np.argsort(hidden, axis=1, kind="stable")[:, :k]
        lists = np.where(np.take_along_axis(hidden, chosen, axis=1), -1, first[chosen])
        return np.pad(lists, ((0, 0), (0, k - lists.shape[1])), constant_values=-1)


@dataclass(frozen=True)
class Cooccurrence:
    """Damped, distance-weighted co-occurrence counts.

    Attributes:
        transitions: (num_items + 1, C) CSR float32, from any item to catalogue rows.
        counts: (C,) int64 training events.
    """

    transitions: sparse.csr_matrix
    counts: np.ndarray

    @classmethod
    def count(
        cls, interactions: Interactions, rows: np.ndarray, counts: np.ndarray, sources: np.ndarray
    ) -> Self:
        """Count transitions of the training part.

        Args:
            interactions: the events.
            rows: (num_items + 1,) catalogue row of each item, -1 for none.
            counts: (C,) training events of the catalogue rows.
            sources: item ids that will be looked up; transitions from others are dropped, so that
                the matrix grows with the number of users to score and not with the catalogue.
        """
        asked = np.unique(sources)
        places = np.full(interactions.num_items + 1, -1)
        places[asked] = np.arange(len(asked))
        shape = (len(asked), len(counts))
        total = _sum(
            _transitions(*_training_items(interactions, users), places, rows, shape)
            for users in _user_blocks(interactions)
        )
        damped = total @ sparse.diags((1.0 / np.sqrt(counts + DAMPING)).astype(np.float32))
        spread = _spread(sparse.csr_matrix(damped), asked, (len(places), len(counts)))
        return cls(spread, counts)

    def scores(
        self, interactions: Interactions, users: np.ndarray, part: Part
    ) -> sparse.csr_matrix:
        """(B, C) sparse scores of the users' last items."""
        items, owners, weights = last_items(interactions, users, part)
        shape = (len(users), interactions.num_items + 1)
        asked = sparse.csr_matrix((weights.astype(np.float32), (owners, items)), shape=shape)
        return sparse.csr_matrix(asked @ self.transitions)

    def lists(
        self,
        interactions: Interactions,
        users: np.ndarray,
        part: Part,
        *,
        seen: Seen,
        popularity: Popularity,
        k: int,
    ) -> np.ndarray:
        """The k best unseen rows of each user, (B, k) int64, padded by popularity, then by -1."""
        scores = self.scores(interactions, users, part).tocoo()
        owners, rows = seen.owners.cpu().numpy(), seen.rows.cpu().numpy()
        keys = scores.row.astype(np.int64) * seen.num_rows + scores.col
        unseen = ~np.isin(keys, owners * seen.num_rows + rows)
        row, column = scores.row[unseen], scores.col[unseen]
        value = scores.data[unseen] + POPULARITY_WEIGHT * self.counts[column]
        order = np.lexsort((column, -value, row))
        row, column = row[order], column[order]
        starts = np.searchsorted(row, np.arange(len(users)))
        place = np.arange(len(row)) - starts[row]
        best = np.full((len(users), k), -1, np.int64)
        best[row[place < k], place[place < k]] = column[place < k]
        return _fill_up(best, popularity.lists(seen, len(users), 2 * k))


def last_items(
    interactions: Interactions, users: np.ndarray, part: Part
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The newest events of each history: item ids, owners (place in ``users``) and weights."""
    starts, ends = interactions.offsets[users], history_ends(interactions, users, part)
    age = np.arange(LAST_ITEMS)
    events = ends[:, None] - 1 - age
    inside = events >= starts[:, None]
    owners = np.broadcast_to(np.arange(len(users))[:, None], inside.shape)
    weights = np.broadcast_to(DECAY**age, inside.shape)
    return interactions.item_ids[events[inside]], owners[inside], weights[inside]


def _fill_up(best: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """Replace each -1 of ``best`` (B, k) by a row of ``spare`` (B, 2k) not yet in the list."""
    k = best.shape[1]
    joined = np.concatenate([best, spare], axis=1)
    order = np.argsort(joined, axis=1, kind="stable")
    ordered = np.take_along_axis(joined, order, axis=1)
    again = np.zeros(joined.shape, bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    drop = again | (joined < 0)
    chosen = np.argsort(drop, axis=1, kind="stable")[:, :k]
    taken = np.take_along_axis(joined, chosen, axis=1)
    return np.where(np.take_along_axis(drop, chosen, axis=1), -1, taken)


def _transitions(
    items: np.ndarray,
    owners: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    shape: tuple[int, int],
) -> sparse.csr_matrix:
    """Distance-weighted transitions between the items of some users, CSR float32.

    Args:
        items: (E,) of the training events, user by user.
        owners: (E,) their users.
        places: (num_items + 1,) row of each source, -1 for an item that is never looked up.
        rows: (num_items + 1,) catalogue row of each target, -1 for none.
        shape: sources and catalogue rows.
    """
    total = sparse.csr_matrix(shape, dtype=np.float32)
    for distance in range(1, MAX_DISTANCE + 1):
        together = owners[distance:] == owners[:-distance]
        earlier, later = items[:-distance][together], items[distance:][together]
        for source, target, gain in (
            (earlier, later, 1.0 / distance),
            (later, earlier, BACKWARD / distance),
        ):
            keep = (places[source] >= 0) & (rows[target] >= 0)
            pairs = (places[source[keep]], rows[target[keep]])
            gains = np.full(int(keep.sum()), gain, np.float32)
            total = total + sparse.csr_matrix((gains, pairs), shape=shape)
    return total


def _sum(matrices: Iterable[sparse.csr_matrix]) -> sparse.csr_matrix:
    """Sum matrices pairwise, merging partial sums like the carries of a binary counter.

    An entry is copied about log2(number of matrices) times; a running sum would be copied once for
    each matrix.
    """
    waiting: list[sparse.csr_matrix] = []  # partial sums, each of more matrices than the next
    for number, matrix in enumerate(matrices, 1):
        waiting.append(matrix)
        for _ in range((number & -number).bit_length() - 1):
            waiting[-2:] = [waiting[-2] + waiting[-1]]
    while len(waiting) > 1:
        waiting[-2:] = [waiting[-2] + waiting[-1]]
    return waiting[0]


def _spread(
    matrix: sparse.csr_matrix, asked: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Scatter the rows to the rows ``asked`` of an otherwise empty matrix of that shape."""
    lengths = np.zeros(shape[0], np.int64)
    lengths[asked] = np.diff(matrix.indptr)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_matrix((matrix.data, matrix.indices, starts), shape=shape)


def _user_blocks(interactions: Interactions) -> list[np.ndarray]:
    """Users in order, split into blocks of about ``EVENTS_AT_ONCE`` events."""
    blocks = np.asarray(interactions.offsets[1:]) // EVENTS_AT_ONCE
    cuts = np.flatnonzero(np.diff(blocks)) + 1
    return np.split(np.arange(interactions.num_users), cuts)


def _training_items(interactions: Interactions, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Items and owners of the training events of a run of consecutive users."""
    begin, end = int(interactions.offsets[users[0]]), int(interactions.offsets[users[-1] + 1])
    owners = np.repeat(users, np.diff(interactions.offsets[users[0] : users[-1] + 2]))
    training = np.arange(begin, end) < interactions.train_end[owners]
    return interactions.item_ids[begin:end][training], owners[training]
