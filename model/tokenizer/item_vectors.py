"""The vectors that a tokenizer reads: rows of a memory-mapped matrix, a block at a time.

A vector that is not finite is refused, and so is one that float32 cannot square; a zero vector has
no direction and gets no semantic ID.
"""

import logging
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.modality_embeddings import ModalityEmbedding
from model.errors import InputError
from model.progress import track

logger = logging.getLogger("onepiece")

COLLABORATIVE = "collaborative"
BLOCK_ROWS = 4096  # scored at once: a fixed shape makes scores batch-invariant
_SMALLEST, _LARGEST = 1e-16, 1e16  # coordinates whose sums of squares float32 can hold


@dataclass(frozen=True)
class ItemVectors:
    """N items that have a vector.

    Attributes:
        source: the modality's id, or ``collaborative``.
        item_ids: (N,) int32 ascending.
        matrix: (M, width) float16 or float32, M >= N.
        rows: (N,) int64 ascending, the row of each item in ``matrix``.
        excluded: number of zero vectors that were left out.
        rotation: (width, width) float32 that every vector is multiplied by; None for none.
    """

    source: str
    item_ids: np.ndarray
    matrix: np.ndarray
    rows: np.ndarray
    excluded: int
    rotation: np.ndarray | None = None

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(cls, source: str, item_ids: np.ndarray, matrix: np.ndarray) -> Self:
        """Check every vector once and leave zero vectors out.

        Args:
            source: named in messages.
            item_ids: (M,) int32 ascending.
            matrix: (M, width), in the same order.

        Raises:
            InputError: a vector that is not finite or that float32 cannot square, or no vector but
                zeros.
        """
        if len(item_ids) != len(matrix):
            raise InputError(
                f"{source}: {len(item_ids):,} item ids, but {len(matrix):,} vectors; "
                "materialise its asset again"
            )
        usable = np.zeros(len(matrix), bool)
        for rows, block in _blocks(matrix, np.arange(len(matrix)), BLOCK_ROWS):
            largest = np.abs(block).max(axis=1)
            _require_sound(source, item_ids[rows], largest)
            usable[rows] = largest > 0.0
        kept = np.flatnonzero(usable)
        excluded = len(matrix) - len(kept)
        if len(kept) == 0:
            raise InputError(
                f"{source}: all {len(matrix):,} vectors are zero, so there is nothing to build "
                "semantic IDs from"
            )
        if excluded:
            logger.warning("%s: %d zero vectors get no semantic ID", source, excluded)
        return cls(source, np.asarray(item_ids)[kept], matrix, kept, excluded)

    @classmethod
    def of_fused(cls, fused: FusedEmbeddings) -> Self:
        """The collaborative vectors."""
        return cls.of(COLLABORATIVE, fused.item_ids, fused.matrix)

    @classmethod
    def of_modality(cls, modality: ModalityEmbedding) -> Self:
        """One modality's vectors."""
        return cls.of(modality.name, modality.item_ids, modality.matrix)

    def subset(self, mask: np.ndarray) -> "ItemVectors":
        """Those of the items for which the (N,) mask is true."""
        return replace(self, item_ids=self.item_ids[mask], rows=self.rows[mask])

    def blocks(
        self, *, what: str, rows_at_once: int = 16 * BLOCK_ROWS
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Pieces of the matrix in order: positions 0..N-1 and their vectors as float32."""
        pieces = _blocks(self.matrix, self.rows, rows_at_once, what=f"{self.source}: {what}")
        return ((positions, self._turned(block)) for positions, block in pieces)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """(n, width) float32 vectors of the items at these positions."""
        taken = np.asarray(self.matrix[self.rows[positions]], np.float32)
        _release(self.matrix)
        return self._turned(taken)

    def _turned(self, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.rotation is None else vectors @ self.rotation


def _require_sound(source: str, item_ids: np.ndarray, largest: np.ndarray) -> None:
    """Refuse vectors by their (n,) largest absolute coordinates, which are NaN where any is."""
    sound = (largest == 0.0) | ((largest >= _SMALLEST) & (largest <= _LARGEST))
    if sound.all():
        return
    item, found = int(item_ids[sound.argmin()]), float(largest[sound.argmin()])
    if not np.isfinite(found):
        raise InputError(
            f"{source}: the vector of item {item} is not finite; train or read it again, "
            "nothing is replaced silently"
        )
    raise InputError(
        f"{source}: the largest coordinate of item {item}'s vector is {found:.3g}, and float32 "
        f"can square {_SMALLEST:g} to {_LARGEST:g}; scale the vectors, or read them again"
    )


def _blocks(
    matrix: np.ndarray, rows: np.ndarray, rows_at_once: int, *, what: str = "looking at vectors"
) -> Iterator[tuple[slice, np.ndarray]]:
    starts = range(0, len(rows), rows_at_once)
    for start in track(starts, total=len(starts), what=what, unit="block"):
        positions = slice(start, min(start + rows_at_once, len(rows)))
        block = np.asarray(matrix[rows[positions]], np.float32)
        _release(matrix)
        yield positions, block


def _release(matrix: np.ndarray) -> None:
    """Hand mapped pages back to the page cache, so that they do not count as this process's."""
    mapped = getattr(matrix, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
