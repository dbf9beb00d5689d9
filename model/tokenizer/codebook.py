"""Semantic IDs of all items, their inverse index, the codebooks behind them, and the report.

Importable with numpy and pyarrow alone: a training machine opens codebooks, it does not build them
(``build``).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.artifact import atomic_folder, open_array, read_json, table_reader, write_json
from model.tokenizer.report_views import conflicts_csv, headlines
from model.tokenizer.sids import hash_of_codes, prefix_keys

_ARRAYS = ("codes", "sid_keys", "sid_offsets", "sid_items")
_ENCODER = "encoder_"


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
        report: one row per source, ``collaborative`` last; see ``report.report_row``.
        method: how the codebooks were built, see ``CodebookParams``.
        metric: ``cosine`` where vectors are brought to length 1 first.
        encoder: weights of the RQ-VAE's encoder, by name; empty for the other methods.
        read_published: loads ``published``, which is as large as the catalogue and rarely needed.
        revision: how often this generation was extended.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    centroids: tuple[np.ndarray, ...]
    sid_keys: np.ndarray
    sid_offsets: np.ndarray
    sid_items: np.ndarray
    report: list[dict[str, Any]]
    method: str = "residual_kmeans"
    metric: Literal["cosine", "l2"] = "cosine"
    encoder: Mapping[str, np.ndarray] = field(default_factory=dict)
    read_published: Callable[[], pa.Table] = field(default_factory=lambda: partial(pa.table, {}))
    revision: int = 0

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        centroids: Sequence[np.ndarray],
        report: Sequence[Mapping[str, Any]],
        **facts: Any,
    ) -> Self:
        """Build the inverse index of the codes.

        Args:
            codes: (I + 1, L) int32, from 1, 0 where there is none.
            centroids: per level (K, dim) float32.
            report: one row per source.
            facts: ``method``, ``metric``, ``encoder``, ``read_published`` and ``revision``, where
                they matter.
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
            **facts,
        )

    @cached_property
    def published(self) -> pa.Table:
        """Table of ``raw_id``, ``sid1``, ``sid2``, ...

        Every ID ever published in this generation, today's items first; see ``growth``.

        Raises:
            InputError: its file is damaged.
        """
        return self.read_published()

    @property
    def num_items(self) -> int:
        return len(self.codes) - 1

    @property
    def width(self) -> int:
        """Numbers in a vector that it can quantise, before any encoder."""
        return vector_width(self.centroids, self.encoder)

    @property
    def generation(self) -> str:
        """The name of this set of codebooks: twelve digits of its content's hash."""
        digest = hashlib.sha256(self.metric.encode())
        for array in (*self.centroids, *(self.encoder[name] for name in sorted(self.encoder))):
            digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    @cached_property
    def semantic_ids(self) -> str:
        """Hash of all items' codes, as checkpoints record it.

        One generation has several where it was re-assigned in several ways.
        """
        return hash_of_codes(self.codes)

    def key_of(self, sid: Sequence[int]) -> int:
        """A semantic ID (codes from 1) as the number in ``sid_keys``."""
        return int(prefix_keys(np.asarray([sid], np.int64) - 1, self.sizes)[0])

    def items_of(self, sid: Sequence[int]) -> np.ndarray:
        """(n,) int32 items under a semantic ID, ascending; none where it is unused."""
        key = self.key_of(sid)
        place = int(np.searchsorted(self.sid_keys, key))
        if place == len(self.sid_keys) or self.sid_keys[place] != key:
            return np.zeros(0, np.int32)
        return self.sid_items[self.sid_offsets[place] : self.sid_offsets[place + 1]]

    def save(self, folder: Path) -> None:
        """Write arrays, codebooks, report and pictures."""
        from model.tokenizer.pictures import plot_conflicts, plot_usage

        needed = 4 * self.codes.nbytes + self.published.nbytes
        with atomic_folder(folder, needed_bytes=needed) as out:
            for name in _ARRAYS:
                np.save(out / f"{name}.npy", getattr(self, name))
            for number, level in enumerate(self.centroids, 1):
                np.save(out / f"centroids_{number}.npy", level)
            for name, weights in self.encoder.items():
                np.save(out / f"{_ENCODER}{name}.npy", weights)
            pq.write_table(self.published, out / "published.parquet")
            facts = {
                "sizes": list(self.sizes),
                "method": self.method,
                "metric": self.metric,
                "revision": self.revision,
                "generation": self.generation,
                "semantic_ids": self.semantic_ids,
            }
            write_json(out / "codebook.json", facts)
            write_json(out / "report.json", self.report)
            if self.report:
                write_json(out / "metrics.json", headlines(self.report))
                (out / "conflicts.csv").write_text(conflicts_csv(self.report), encoding="utf-8")
                plot_conflicts(self.report, out / "conflicts.png")
                plot_usage(self.report, out / "usage.png")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open; the arrays are memory-mapped.

        Raises:
            InputError: a file is missing or damaged, with its name.
        """
        folder = Path(folder)
        facts = read_json(folder / "codebook.json")
        encoders = sorted(path.stem for path in folder.glob(f"{_ENCODER}*.npy"))
        unnamed = "rq_vae" if encoders else "residual_kmeans"  # in older files
        levels = [f"centroids_{number}" for number in range(1, len(facts["sizes"]) + 1)]
        opened = {
            name: open_array(folder / f"{name}.npy") for name in (*_ARRAYS, *levels, *encoders)
        }
        return cls(
            **{name: opened[name] for name in _ARRAYS},
            sizes=tuple(facts["sizes"]),
            centroids=tuple(opened[name] for name in levels),
            report=read_json(folder / "report.json"),
            method=facts.get("method", unnamed),
            metric=facts["metric"],
            encoder={name.removeprefix(_ENCODER): opened[name] for name in encoders},
            read_published=table_reader(folder / "published.parquet"),
            revision=facts["revision"],
        )


def vector_width(centroids: Sequence[np.ndarray], encoder: Mapping[str, np.ndarray]) -> int:
    """Numbers in a vector that goes into these codebooks, before any encoder."""
    entrance = encoder["0.weight"] if encoder else centroids[0]
    return entrance.shape[1]
