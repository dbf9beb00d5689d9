"""Columns of codes: one row per item or user, memory-mapped.

A code is 1..vocabulary size; 0 means missing or unknown. Row 0 is the padding row, all zeros.
The scalar codes of a row lie side by side: a batch wants all of some rows, and waits for memory
once per row instead of once per code.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from model.artifact import open_array, read_json, write_json
from model.dataset.arrow import update_digest

FEATURE_NAME = re.compile(r"[\w.\-]{1,100}")  # it becomes a part of a file name


@dataclass(frozen=True)
class ArrayColumn:
    """A column whose cells are lists of codes, in CSR form.

    ``offsets`` (N + 1,) int64; ``values`` (total,) int32.
    """

    offsets: np.ndarray
    values: np.ndarray

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """(B, L) int32 of rows (B,), right-padded with 0; L is the longest, at least 1."""
        offsets, values = np.asarray(self.offsets), np.asarray(self.values)  # maps index slowly
        begins = offsets[rows]
        lengths = offsets[rows + 1] - begins
        column = np.arange(lengths.max(initial=1))
        inside = column < lengths[:, None]
        dense = np.zeros(inside.shape, np.int32)
        dense[inside] = values[(begins[:, None] + column)[inside]]
        return dense


class ScalarColumns(Mapping[str, np.ndarray]):
    """Columns of one code per row: a feature's name to (N,) int32, a view of ``matrix``."""

    def __init__(self, names: Sequence[str], matrix: np.ndarray) -> None:
        """Take columns that lie side by side.

        Args:
            names: S of them.
            matrix: (N, S) int32.
        """
        self.matrix = np.asarray(matrix)  # maps index slowly
        self._columns = dict(zip(names, self.matrix.T, strict=True))

    @classmethod
    def side_by_side(cls, columns: Mapping[str, np.ndarray], num_rows: int) -> Self:
        """Copy columns of (N,) codes into one matrix; ``num_rows`` is N, also of no columns."""
        matrix = np.empty((num_rows, len(columns)), np.int32)
        for place, column in enumerate(columns.values()):
            matrix[:, place] = column
        return cls(list(columns), matrix)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True)
class FeatureTable:
    """The features of all items or all users, N rows, row 0 being padding.

    ``arrays`` maps a feature's name to an :class:`ArrayColumn`;
    ``vocabulary_sizes`` gives every feature's largest code, ``vocabulary_digests`` a digest of what
    its codes stand for where that is known.
    """

    num_rows: int
    scalars: ScalarColumns
    arrays: dict[str, ArrayColumn]
    vocabulary_sizes: dict[str, int]
    vocabulary_digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def without_features(cls, count: int) -> Self:
        """The table of items or users of which nothing is known but how many they are."""
        return cls(count + 1, ScalarColumns.side_by_side({}, count + 1), {}, {})

    def write(self, folder: Path) -> None:
        """Write into an existing folder (part of a larger artefact)."""
        np.save(folder / "scalars.npy", self.scalars.matrix)
        for name, array in self.arrays.items():
            np.save(folder / f"array_{name}_offsets.npy", array.offsets)
            np.save(folder / f"array_{name}_values.npy", array.values.astype(np.int32, copy=False))
        schema = {
            "num_rows": self.num_rows,
            "scalars": list(self.scalars),
            "arrays": list(self.arrays),
            "vocabulary_sizes": self.vocabulary_sizes,
            "vocabulary_digests": self.vocabulary_digests,
        }
        write_json(folder / "schema.json", schema)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open what :meth:`write` wrote, memory-mapped."""
        schema = read_json(folder / "schema.json")

        def column(name: str) -> np.ndarray:
            return open_array(folder / f"{name}.npy")

        return cls(
            num_rows=schema["num_rows"],
            scalars=ScalarColumns(schema["scalars"], column("scalars")),
            arrays={
                name: ArrayColumn(column(f"array_{name}_offsets"), column(f"array_{name}_values"))
                for name in schema["arrays"]
            },
            vocabulary_sizes=schema["vocabulary_sizes"],
            vocabulary_digests=schema.get("vocabulary_digests", {}),  # older stores have none
        )


def digest_vocabulary(values: pa.Array, codes: np.ndarray) -> str:
    """A digest of what codes stand for.

    Args:
        values: (N,) texts.
        codes: (N,) integers, the code of each; in any order.
    """
    order = np.argsort(codes, kind="stable")
    digest = hashlib.blake2b(codes[order].astype(np.int64).tobytes(), digest_size=16)
    update_digest(digest, values.take(pa.array(order)))
    return digest.hexdigest()
