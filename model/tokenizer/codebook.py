"""Semantic IDs of all items, their inverse index, the codebooks behind them, and the report.

Importable with numpy and pyarrow alone: a training machine opens codebooks, it does not build them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.artifact import atomic_folder, read_json, write_json
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.tokenizer.sids import prefix_keys

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.params import CodebookParams

_ARRAYS = ("codes", "sid_keys", "sid_offsets", "sid_items")


@dataclass(frozen=True)
class Codebook:
    """Semantic IDs; I items, L levels, S distinct IDs.

    Attributes:
        codes: (I + 1, L) int32, from 1; row 0 and items without a semantic ID are 0.
        sizes: codes of each level.
        centroids: per level (K, dim) float32.
        sid_keys: (S,) int64 ascending, see :meth:`key_of`.
        sid_offsets: (S + 1,) int64 into ``sid_items``.
        sid_items: (items with a semantic ID,) int32, ascending within an ID.
        report: one row per source, see ``tokenize.report_row``.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    centroids: tuple[np.ndarray, ...]
    sid_keys: np.ndarray
    sid_offsets: np.ndarray
    sid_items: np.ndarray
    report: list[dict[str, Any]]

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        centroids: Sequence[np.ndarray],
        report: Sequence[Mapping[str, Any]],
    ) -> Self:
        """Index the codes.

        Args:
            codes: (I + 1, L) int32, from 1, 0 where there is none.
            centroids: per level (K, dim) float32.
            report: one row per source.
        """
        sizes = tuple(len(level) for level in centroids)
        items = np.flatnonzero((codes > 0).all(axis=1))
        keys = prefix_keys(codes[items] - 1, sizes)
        order = np.argsort(keys, kind="stable")
        sid_keys, starts = np.unique(keys[order], return_index=True)
        return cls(
            codes=codes.astype(np.int32, copy=False),
            sizes=sizes,
            centroids=tuple(centroids),
            sid_keys=sid_keys,
            sid_offsets=np.append(starts, len(items)).astype(np.int64),
            sid_items=items[order].astype(np.int32),
            report=[dict(row) for row in report],
        )

    @property
    def num_items(self) -> int:
        return len(self.codes) - 1

    def key_of(self, sid: Sequence[int]) -> int:
        """A semantic ID (codes from 1) as the number in ``sid_keys``."""
        return int(prefix_keys(np.asarray([sid], np.int64) - 1, self.sizes)[0])

    def items_of(self, sid: Sequence[int]) -> np.ndarray:
        """(n,) int32 items under a semantic ID, ascending; none where it is nobody's."""
        key = self.key_of(sid)
        place = int(np.searchsorted(self.sid_keys, key))
        if place == len(self.sid_keys) or self.sid_keys[place] != key:
            return np.zeros(0, np.int32)
        return self.sid_items[self.sid_offsets[place] : self.sid_offsets[place + 1]]

    def save(self, folder: Path) -> None:
        """Write arrays, codebooks and report."""
        with atomic_folder(folder, needed_bytes=3 * self.codes.nbytes) as out:
            for name in _ARRAYS:
                np.save(out / f"{name}.npy", getattr(self, name))
            for number, level in enumerate(self.centroids, 1):
                np.save(out / f"centroids_{number}.npy", level)
            write_json(out / "codebook.json", {"sizes": list(self.sizes)})
            write_json(out / "report.json", self.report)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open, memory-mapped."""
        folder = Path(folder)
        sizes = tuple(read_json(folder / "codebook.json")["sizes"])
        opened = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in (*_ARRAYS, *(f"centroids_{n}" for n in range(1, len(sizes) + 1)))
        }
        centroids = tuple(opened.pop(f"centroids_{n}") for n in range(1, len(sizes) + 1))
        report = read_json(folder / "report.json")
        return cls(sizes=sizes, centroids=centroids, report=report, **opened)


def build_codebook(
    fused_embeddings: FusedEmbeddings,
    modality_embeddings: Sequence[ModalityEmbedding],
    interactions: Interactions,
    params: "CodebookParams",
    seed: int,
) -> Codebook:
    """Semantic IDs of the collaborative vectors, and the report of every source.

    Args:
        fused_embeddings: of all items.
        modality_embeddings: reported beside it where ``per_modality`` says so.
        interactions: of the same items.
        params: see ``CodebookParams``.
        seed: decides everything random.

    Raises:
        InputError: vectors that are no numbers, fewer semantic IDs than items.
    """
    from model.tokenizer.build import build  # faiss and numba, only where codebooks are built

    return build(fused_embeddings, modality_embeddings, interactions, params, seed)
