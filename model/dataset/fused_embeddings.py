"""The collaborative item embedding: one unit vector for every item, memory-mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from model.artifact import atomic_folder, open_array


@dataclass(frozen=True)
class FusedEmbeddings:
    """Vectors of all items.

    Attributes:
        item_ids: (I,) int32, 1..I.
        matrix: (I, dim) float32, L2-normalised; item i at row i - 1.
    """

    item_ids: np.ndarray
    matrix: np.ndarray

    def save(self, folder: Path) -> None:
        """Write both arrays."""
        with atomic_folder(folder, needed_bytes=self.matrix.nbytes + self.item_ids.nbytes) as out:
            np.save(out / "item_ids.npy", self.item_ids.astype(np.int32, copy=False))
            np.save(out / "matrix.npy", self.matrix.astype(np.float32, copy=False))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open, memory-mapped."""
        folder = Path(folder)
        return cls(
            item_ids=open_array(folder / "item_ids.npy"), matrix=open_array(folder / "matrix.npy")
        )
