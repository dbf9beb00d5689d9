"""A float16 matrix on disk whose rows can be written in any order."""

import mmap
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from model.artifact import allocate

_ROWS_PER_MOVE = 4096


class VectorMatrix:
    """One row per item in ascending order; a ``.npy`` file that memory never holds as a whole."""

    def __init__(self, path: Path, items: np.ndarray, width: int) -> None:
        """Allocate rows for ``items`` (N,), ascending ids."""
        self.width = width
        self._path, self._items = path, items
        self._rows = npy.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(items), width))
        with path.open("r+b") as file:
            allocate(file.fileno(), self._rows.offset + self._rows.nbytes)
        self._place = np.full(int(items.max()) + 1, -1, np.int32)
        self._place[items] = np.arange(len(items))

    def write(self, item_ids: np.ndarray, vectors: np.ndarray) -> None:
        """Put (n, width) vectors at their items' rows."""
        self._rows[self._place[item_ids]] = vectors
        self._release()

    def read(self, item_ids: np.ndarray) -> np.ndarray:
        """(n, width) vectors as written for these items."""
        return self._rows[self._place[item_ids]]

    def keep(self, wanted: np.ndarray) -> None:
        """Drop the rows of items that are not wanted, close the gaps and finish the file.

        Args:
            wanted: bool by item id.
        """
        kept = np.flatnonzero(wanted[self._items])
        if len(kept) < len(self._items):
            for first in range(0, len(kept), _ROWS_PER_MOVE):  # rows only ever move upwards
                moved = kept[first : first + _ROWS_PER_MOVE]
                self._rows[first : first + len(moved)] = self._rows[moved]
                self._release()
        self._rows.flush()
        offset = self._rows.offset
        del self._rows
        _shorten(self._path, (len(kept), self.width), offset)

    def _release(self) -> None:
        """Hand touched pages back to the page cache, so that they do not add up."""
        self._rows._mmap.madvise(mmap.MADV_DONTNEED)  # pyright: ignore[reportAttributeAccessIssue]


def _shorten(path: Path, shape: tuple[int, int], offset: int) -> None:
    """Give a ``.npy`` file fewer rows; the header keeps its length, since numpy pads it."""
    with path.open("r+b") as file:
        header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        assert file.tell() == offset, "the header must end where the first row begins"
        file.truncate(offset + shape[0] * shape[1] * 2)
