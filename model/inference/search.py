"""Embedding-only search: the k nearest items of each user, exactly, in chunks of the catalogue.

The full users x catalogue matrix is never formed: one chunk of scores at a time, sized for the
cache. Within a chunk only the best blocks of 64 are searched for the top k; an item of the top k is
in one of the k blocks with the highest maxima, so nothing is lost. Ties go to the first row, as in
a stable sort, so that the result depends neither on the batch nor on the size of the chunk. A
matrix product rounds columns that do not fill a tile in another way, and equal vectors would get
unequal scores: so every chunk consists of whole blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.inference import ragged
from model.inference.filters import FullGroups, Seen
from model.network.thread_invariance import thread_invariant

BLOCK = 64
SCORES_AT_ONCE = {"cpu": 2_000_000, "cuda": 200_000_000}
ROWS_AT_ONCE = 262_144  # at most in a chunk; padding the last chunk copies it


class VectorSearch(Protocol):
    """Finds catalogue rows for user vectors."""

    @property
    def exact(self) -> "ExactSearch":
        """The exact search that this one equals or approximates."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its ``kind`` and, for an index, its properties."""
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
        """See :class:`VectorSearch`; leaves out the groups that ``full`` lists for a user."""
        num_users, num_rows = len(queries), len(self.vectors)
        by_row = seen.rows.argsort(stable=True)
        seen_rows, seen_owners = seen.rows[by_row], seen.owners[by_row]
        piece = max(4096, SCORES_AT_ONCE[queries.device.type] // max(num_users, 1))
        piece = min(piece, ROWS_AT_ONCE) // BLOCK * BLOCK
        best = queries.new_full((num_users, k), -torch.inf)
        rows = torch.full((num_users, k), -1, device=queries.device)
        starts = torch.arange(0, num_rows, piece)
        ends = torch.cat([starts, starts[-1:] + piece]).to(rows)
        limits = torch.searchsorted(seen_rows, ends).tolist()  # one by one, a GPU would be awaited
        for number, start in enumerate(starts.tolist()):
            stop = min(start + piece, num_rows)
            scores = self._scores(queries, start, stop)
            hidden = slice(limits[number], limits[number + 1])
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
        with thread_invariant(len(queries)):
            return torch.addmm(bias, queries, vectors.T)[:, : stop - start]


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``scores.topk(k)``, ties to the first columns; fewer where there are fewer columns."""
    values, columns = _most(scores, k + 1)  # one more shows whether the last is tied
    tied = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)
    users = tied.any(dim=1).nonzero().flatten()
    values, columns = values[:, :k], columns[:, :k]
    if len(users):
        values[users], columns[users] = _first_of_equals(scores[users], values[users, -1:], k)
    return values, columns


def _most(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``scores.topk(k)`` by way of block maxima; fewer where there are fewer columns."""
    num_users, num_columns = scores.shape
    if num_columns <= BLOCK * k:
        return scores.topk(min(k, num_columns), dim=1)
    missing = -num_columns % BLOCK
    padded = F.pad(scores, (0, missing), value=-torch.inf) if missing else scores  # pad copies
    blocks = padded.view(num_users, -1, BLOCK)
    chosen = blocks.amax(dim=2).topk(k, dim=1).indices
    inside = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    values, places = inside.topk(k, dim=1)
    return values, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def _first_of_equals(scores: Tensor, last: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Top k of users with ties; scores below their k-th value ``last`` (N, 1) are not sorted."""
    reached = ~(scores < last)
    owners, columns = reached.nonzero(as_tuple=True)
    values = scores[reached]
    by_value = values.argsort(descending=True, stable=True)
    order = by_value[owners[by_value].argsort(stable=True)]
    offsets = ragged.offsets_of(reached.sum(dim=1))
    best, places = (ragged.pack(x[order], owners, offsets, 0) for x in (values, columns))
    return best[:, :k], places[:, :k]
