"""Interface of a modality's vectors in any layout: raw ids, and chunks of rows of any width."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.csr import offsets_of
from model.dataset.parquet_files import list_lengths

BYTES_PER_CHUNK = 1 << 26


@dataclass(frozen=True)
class VectorChunk:
    """Some rows: row i has ``values[offsets[i] : offsets[i + 1]]``, or none where ``null[i]``.

    ``values`` is float32; ``source`` names the file.
    """

    source: Path
    null: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


class VectorSource(Protocol):
    """Rows of ids and vectors, in an order that does not change."""

    @property
    def named_width(self) -> int | None:
        """The width that the folder's name states."""
        ...

    def ids(self) -> Iterator[pa.Array]:
        """Raw ids as strings, in pieces."""
        ...

    def chunks(self) -> Iterator[VectorChunk]:
        """Vectors of the same rows."""
        ...


def chunk_of(source: Path, vectors: pa.Array) -> VectorChunk:
    """A column of lists as a chunk; null within a list becomes NaN."""
    lengths = list_lengths(vectors)
    values = pc.fill_null(vectors.flatten().cast(pa.float32(), safe=False), float("nan"))
    return VectorChunk(
        source=source,
        null=vectors.is_null().to_numpy(zero_copy_only=False),
        offsets=offsets_of(lengths),
        values=values.to_numpy(zero_copy_only=False),
    )
