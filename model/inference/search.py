"""Embedding-only search: the k nearest items of each user, exactly, in pieces of the catalogue.

Never users x catalogue: one piece of scores at a time, sized for the cache. Within a piece only
the best blocks of 64 are searched for the top k; an item among the top k stands in one of the k
blocks with the highest maxima, so nothing is lost. Of equal scores the first row counts as the
best, as in a stable sort: which users share a batch, and so how large a piece is, decides nothing.
A product's last columns, where they do not fill a tile, are rounded in another way: equal vectors
would have unequal scores there, so that every piece is made of whole blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.inference import ragged
from model.inference.filters import FullGroups, Seen
from model.network.few_rows import same_bits

BLOCK = 64
SCORES_AT_ONCE = {"cpu": 2_000_000, "cuda": 200_000_000}
ROWS_AT_ONCE = 262_144  # the last of which may have to be copied


class VectorSearch(Protocol):
    """Finds catalogue rows for user vectors."""

    @property
    def exact(self) -> "ExactSearch":
        """The search that this one stands for."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its ``kind``, and of an index what is known of it."""
        ...

    def search(self, queries: Tensor, k: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """The k best unseen rows.

        Args:
            queries: (B, D) float32.
            k: rows per user.
            seen: what is left out.

        Returns:
            scores (B, k) float32, descending, -inf where fewer exist; rows (B, k) int64, -1 there.
        """
        ...


@dataclass(frozen=True)
class ExactSearch:
    """Chunked matrix product.

    Attributes:
        vectors: (C, D) float32.
        bias: (C,) float32, added to every item's score.
    """

    vectors: Tensor
    bias: Tensor

    @property
    def exact(self) -> "ExactSearch":
        """Itself, see :class:`VectorSearch`."""
        return self

    @property
    def facts(self) -> Mapping[str, Any]:
        """See :class:`VectorSearch`."""
        return {"kind": "exact"}

    def search(
        self, queries: Tensor, k: int, seen: Seen, full: FullGroups | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :class:`VectorSearch`; of a group that a user has in ``full``, nothing is found."""
        num_users, num_rows = len(queries), len(self.vectors)
        by_row = seen.rows.argsort(stable=True)
        seen_rows, seen_owners = seen.rows[by_row], seen.owners[by_row]
        piece = max(4096, SCORES_AT_ONCE[queries.device.type] // max(num_users, 1))
        piece = min(piece, ROWS_AT_ONCE) // BLOCK * BLOCK
        best = queries.new_full((num_users, k), -torch.inf)
        rows = torch.full((num_users, k), -1, device=queries.device)
        starts = torch.arange(0, num_rows, piece)
        limits = torch.searchsorted(seen_rows, torch.cat([starts, starts[-1:] + piece]).to(rows))
        for number, start in enumerate(starts.tolist()):
            stop = min(start + piece, num_rows)
            scores = self._scores(queries, start, stop)
            hidden = slice(int(limits[number]), int(limits[number + 1]))
            scores[seen_owners[hidden], seen_rows[hidden] - start] = -torch.inf
            if full is not None:
                scores.masked_fill_(full.hides(start, stop), -torch.inf)
            values, columns = _top(scores, k)
            columns = torch.where(values > -torch.inf, columns + start, -1)
            best, chosen = _top(torch.cat([best, values], 1), k)
            rows = torch.cat([rows, columns], 1).gather(1, chosen)
        return best, rows

    def _scores(self, queries: Tensor, start: int, stop: int) -> Tensor:
        """(B, stop - start) of some rows of the catalogue."""
        vectors, bias = self.vectors[start:stop], self.bias[start:stop]
        missing = -len(vectors) % BLOCK
        if missing:
            vectors = F.pad(vectors, (0, 0, 0, missing))
            bias = F.pad(bias, (0, missing))
        with same_bits(len(queries)):
            return torch.addmm(bias, queries, vectors.T)[:, : stop - start]


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``scores.topk(k)``, of equals the first columns; fewer where there are fewer columns."""
    values, columns = _most(scores, k + 1)  # one more tells whether the last has an equal
    tied = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)
    users = tied.any(dim=1).nonzero().flatten()
    values, columns = values[:, :k], columns[:, :k]
    if len(users):
        values[users], columns[users] = _first_of_equals(scores[users], values[users, -1:], k)
    return values, columns


def _most(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``scores.topk(k)``, by the maxima of blocks first; fewer where there are fewer columns."""
    num_users, num_columns = scores.shape
    if num_columns <= BLOCK * k:
        return scores.topk(min(k, num_columns), dim=1)
    padded = F.pad(scores, (0, -num_columns % BLOCK), value=-torch.inf)
    blocks = padded.view(num_users, -1, BLOCK)
    chosen = blocks.amax(dim=2).topk(k, dim=1).indices
    inside = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    values, places = inside.topk(k, dim=1)
    return values, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def _first_of_equals(scores: Tensor, last: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same of users with equals; what does not reach their k-th value (N, 1) is not sorted."""
    reached = ~(scores < last)
    owners, columns = reached.nonzero(as_tuple=True)
    values = scores[reached]
    by_value = values.argsort(descending=True, stable=True)
    order = by_value[owners[by_value].argsort(stable=True)]
    offsets = ragged.offsets_of(reached.sum(dim=1))
    best, places = (ragged.pack(x[order], owners, offsets, 0) for x in (values, columns))
    return best[:, :k], places[:, :k]
