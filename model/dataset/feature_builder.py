"""Build feature columns from pieces that come in any order of rows."""

import numpy as np

from model.dataset.csr import offsets_of, positions_of
from model.dataset.features import ArrayColumn, FeatureTable, ScalarColumns


class FeatureTableBuilder:
    """Collect codes by row; rows without any stay 0 (missing)."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._scalars: dict[str, np.ndarray] = {}
        self._arrays: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def is_list(self, name: str) -> bool | None:
        """Whether a feature's cells are lists; None where nothing was added yet."""
        if name in self._arrays:
            return True
        return False if name in self._scalars else None

    def add_scalars(self, name: str, rows: np.ndarray, codes: np.ndarray) -> None:
        """One code per row; ``rows`` (N,) are table rows, padding being row 0."""
        column = self._scalars.setdefault(name, np.zeros(self._num_rows, np.int32))
        column[rows] = codes

    def add_arrays(
        self, name: str, rows: np.ndarray, lengths: np.ndarray, codes: np.ndarray
    ) -> None:
        """A list of codes per row; zeros are dropped.

        Args:
            name: of the feature.
            rows: (N,) int64 table rows, padding being row 0; each may be given once only.
            lengths: (N,) int64 codes of each row.
            codes: (sum of ``lengths``,) integers, row after row.
        """
        kept = codes != 0
        owner = np.repeat(np.arange(len(rows)), lengths)
        lengths = np.bincount(owner[kept], minlength=len(rows))
        self._arrays.setdefault(name, []).append((rows, lengths, codes[kept].astype(np.int32)))

    def build(
        self, vocabulary_sizes: dict[str, int], vocabulary_digests: dict[str, str]
    ) -> FeatureTable:
        """Build the table, columns by name; a vocabulary of unknown size has its largest code."""
        arrays = {name: self._array(pieces) for name, pieces in sorted(self._arrays.items())}
        scalars = dict(sorted(self._scalars.items()))
        largest = {name: int(column.max(initial=0)) for name, column in scalars.items()} | {
            name: int(array.values.max(initial=0)) for name, array in arrays.items()
        }
        return FeatureTable(
            num_rows=self._num_rows,
            scalars=ScalarColumns.side_by_side(scalars, self._num_rows),
            arrays=arrays,
            vocabulary_sizes={
                name: vocabulary_sizes.get(name, size) for name, size in largest.items()
            },
            vocabulary_digests={
                name: digest for name, digest in vocabulary_digests.items() if name in largest
            },
        )

    def _array(self, pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> ArrayColumn:
        rows, lengths, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
        starts = offsets_of(lengths)[:-1]
        order = np.argsort(rows, kind="stable")
        per_row = np.zeros(self._num_rows, np.int64)
        per_row[rows] = lengths
        return ArrayColumn(
            offsets=offsets_of(per_row),
            values=values[positions_of(starts[order], lengths[order])],
        )
