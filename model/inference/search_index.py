"""A faiss index over the catalogue, as it is saved; built and stored on the CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
import torch
from torch import Tensor

from model.artifact import atomic_folder, open_array, read_json, write_json
from model.errors import InputError


@dataclass(frozen=True)
class SearchIndex:
    """A faiss index over catalogue rows.

    Attributes:
        index: inner product over vectors with the bias as one more dimension; keeps the number of
            probes, or hnsw's ``efSearch``, itself.
        item_ids: (C,) int32, the item of each row.
        facts: ``kind``, ``recall@10`` against exact search, number of ``queries`` that measured it
            (held out from the choice of probes, unless there is only one), and what was chosen
            (``lists``, ``probes`` or ``ef_search``).
    """

    index: Any
    item_ids: np.ndarray
    facts: dict[str, Any]

    def nearest(self, queries: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best rows that the index finds.

        Args:
            queries: (B, D) float32.
            k: rows per user.

        Returns:
            scores (B, k) float32, descending; rows (B, k) int64, -1 where it finds too few.
        """
        return self.index.search(_with_one(queries), k)

    def save(self, folder: Path) -> None:
        """Write the index, its items and its facts."""
        needed = self.index.ntotal * (self.index.d * 4 + 300)
        with atomic_folder(folder, needed_bytes=needed) as out:
            faiss.write_index(self.index, str(out / "index.faiss"))
            np.save(out / "item_ids.npy", self.item_ids)
            write_json(out / "search_index.json", self.facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: a file is missing or damaged, with its name.
        """
        file = Path(folder) / "index.faiss"
        facts = read_json(Path(folder) / "search_index.json")
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise InputError(f"{file}: not a readable faiss index; build it again") from error
        return cls(index, open_array(Path(folder) / "item_ids.npy"), facts)


def _with_one(queries: Tensor) -> np.ndarray:
    """Queries with a 1 appended, which multiplies the bias."""
    ones = torch.ones(len(queries), 1, device=queries.device)
    return np.ascontiguousarray(torch.cat([queries, ones], dim=1).cpu().numpy())
