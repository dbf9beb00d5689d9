"""Embedding-only search: the k nearest items of each user, exactly, in pieces of the catalogue.

Never users x catalogue: one piece of scores at a time, sized for the cache. Within a piece only
the best blocks of 64 are searched for the top k; an item among the top k stands in one of the k
blocks with the highest maxima, so nothing is lost.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.inference.filters import Seen

BLOCK = 64
SCORES_AT_ONCE = {"cpu": 2_000_000, "cuda": 200_000_000}


class VectorSearch(Protocol):
    """Finds catalogue rows for user vectors."""

    @property
    def exact(self) -> "ExactSearch":
        """The search that this one stands for."""
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

    def search(self, queries: Tensor, k: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """See :class:`VectorSearch`."""
        num_users, num_rows = len(queries), len(self.vectors)
        by_row = seen.rows.argsort(stable=True)
        seen_rows, seen_owners = seen.rows[by_row], seen.owners[by_row]
        piece = max(4096, SCORES_AT_ONCE[queries.device.type] // max(num_users, 1))
        piece = piece // BLOCK * BLOCK
        best = queries.new_full((num_users, k), -torch.inf)
        rows = torch.full((num_users, k), -1, device=queries.device)
        starts = torch.arange(0, num_rows, piece)
        limits = torch.searchsorted(seen_rows, torch.cat([starts, starts[-1:] + piece]).to(rows))
        for number, start in enumerate(starts.tolist()):
            stop = min(start + piece, num_rows)
            scores = torch.addmm(self.bias[start:stop], queries, self.vectors[start:stop].T)
            hidden = slice(int(limits[number]), int(limits[number + 1]))
            scores[seen_owners[hidden], seen_rows[hidden] - start] = -torch.inf
            values, columns = _top_by_blocks(scores, k)
            columns = torch.where(values > -torch.inf, columns + start, -1)
            values, columns = torch.cat([best, values], 1), torch.cat([rows, columns], 1)
            best, chosen = values.topk(k, dim=1)
            rows = columns.gather(1, chosen)
        return best, rows


def _top_by_blocks(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``scores.topk(k)``, by the maxima of blocks first; fewer columns where there are fewer."""
    num_users, num_columns = scores.shape
    if num_columns <= BLOCK * k:
        return scores.topk(min(k, num_columns), dim=1)
    padded = torch.nn.functional.pad(scores, (0, -num_columns % BLOCK), value=-torch.inf)
    blocks = padded.view(num_users, -1, BLOCK)
    chosen = blocks.amax(dim=2).topk(k, dim=1).indices
    inside = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    values, places = inside.topk(k, dim=1)
    return values, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK
