"""Search an index as a recommender does: without seen items, and for as many as are asked for.

faiss returns -1 where it finds too few: such a user is searched exactly, so that a -1 never becomes
an item. Where faiss has a GPU, inverted lists are searched there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import faiss
import torch
from torch import Tensor

from model.inference.filters import Seen
from model.inference.search import ExactSearch
from model.inference.search_index import SearchIndex
from model.params import LARGEST

GPU_AT_MOST = 2048  # results and probes of a search on a GPU: faiss refuses more


@dataclass(frozen=True)
class IndexSearch:
    """Search an index, and exactly where it finds too few items; see ``VectorSearch``.

    Attributes:
        index: over the rows of ``exact``.
        exact: the vectors themselves.
        deepest: most results that the index can return; users who need more are searched exactly.
        complete: whether short lists are searched exactly; else they are padded with -1.
    """

    index: SearchIndex
    exact: ExactSearch
    deepest: int = LARGEST
    complete: bool = True

    @property
    def facts(self) -> Mapping[str, Any]:
        """The index's facts, see :class:`SearchIndex`."""
        return self.index.facts

    def search(self, queries: Tensor, k: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """Fetch as many more items as a user has seen, and filter those out."""
        scores = queries.new_full((len(queries), k), -torch.inf)
        rows = torch.full((len(queries), k), -1, device=queries.device)
        depths = self._depths(k, torch.bincount(seen.owners, minlength=len(queries)))
        for depth in depths.unique().tolist():
            chosen = (depths == depth).nonzero().flatten()
            scores[chosen], rows[chosen] = self._unseen(
                queries[chosen], k, depth, seen.of_users(chosen)
            )
        short = (rows[:, -1] < 0).nonzero().flatten()
        if self.complete and len(short):
            scores[short], rows[short] = self.exact.search(queries[short], k, seen.of_users(short))
        return scores, rows

    def _depths(self, k: int, num_seen: Tensor) -> Tensor:
        """(B,) int64 search depth of each user, who has seen (B,) int64 items.

        Which of several tied items an index returns depends on the depth. To be batch-invariant, a
        user's depth therefore follows from that user's history alone; it is rounded up to a power
        of two, so that a few searches serve the batch.
        """
        rounded = 2 ** torch.frexp((k + num_seen - 1).double()).exponent.long()
        return rounded.clamp(max=min(len(self.exact.vectors), self.deepest))

    def _unseen(self, queries: Tensor, k: int, depth: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """The k best unseen of ``depth`` results of the index, padded with -1."""
        found, places = self.index.nearest(queries, depth)
        rows = torch.from_numpy(places).to(queries.device)
        keep = (rows >= 0) & ~seen.contains(rows)
        order = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :k]
        kept = keep.gather(1, order)
        rows = torch.where(kept, rows.gather(1, order), -1)
        scores = torch.from_numpy(found).to(queries.device).gather(1, order)
        scores = torch.where(kept, scores, -torch.inf)
        missing = (0, k - rows.shape[1])
        rows = torch.nn.functional.pad(rows, missing, value=-1)
        return torch.nn.functional.pad(scores, missing, value=-torch.inf), rows


def on_gpu(search: IndexSearch, device: torch.device) -> IndexSearch:
    """The search with its index copied to the GPU; unchanged without one or with too many probes.

    faiss does not move graphs to a GPU.
    """
    has_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    probes = search.index.facts.get("probes", GPU_AT_MOST + 1)
    if device.type != "cuda" or not has_gpu or probes > GPU_AT_MOST:
        return search
    number = torch.cuda.current_device() if device.index is None else device.index
    moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, search.index.index)
    return replace(search, index=replace(search.index, index=moved), deepest=GPU_AT_MOST)
