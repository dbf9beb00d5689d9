"""Vectors in one pickle, read by a restricted loader."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.restricted_pickle import load_pickle
from model.dataset.vector_chunk import VectorChunk, chunk_of
from model.errors import InputError


@dataclass(frozen=True)
class PickledVectors:
    """One pickle of raw id -> vector; held in memory, as its format demands."""

    path: Path
    named_width: int | None
    _content: dict[Any, Any]

    @classmethod
    def read(cls, path: Path, named_width: int | None) -> "PickledVectors":
        """Read a whole pickle.

        Raises:
            InputError: missing, damaged, or no dict.
        """
        content = load_pickle(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: must hold a dict of raw id to vector; get it again")
        return cls(path, named_width, content)

    def ids(self) -> Iterator[pa.Array]:
        try:
            yield pa.array([str(key) for key in self._content], pa.large_string())
        except UnicodeEncodeError as error:
            raise InputError(
                f"{self.path}: key {error.object!r} is not text in Unicode; it must be a raw id"
            ) from None

    def chunks(self) -> Iterator[VectorChunk]:
        """All vectors in one piece.

        Raises:
            InputError: one of them is not a list of numbers.
        """
        for key, vector in self._content.items():
            if not isinstance(vector, _SEQUENCES) or _holds_truth_values(vector):
                raise self._no_list(key)
        try:
            vectors = _as_lists(self._content.values())
        except _NO_LISTS:
            key = next(key for key, vector in self._content.items() if not _is_list(vector))
            raise self._no_list(key) from None
        yield chunk_of(self.path, vectors)

    def _no_list(self, key: Any) -> InputError:
        return InputError(
            f"{self.path}: the vector of {key!r} is not a list of numbers; get it again"
        )


_SEQUENCES = (np.ndarray, list, tuple, type(None))  # Arrow would take bytes and sets as well
_TRUTH_VALUES = {bool, np.bool_}
_NO_LISTS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError)


def _holds_truth_values(vector: Any) -> bool:
    """Whether a list has booleans, which Arrow would convert to 1 and 0, unlike those of arrays."""
    if isinstance(vector, np.ndarray):
        return vector.dtype == object and _holds_truth_values(vector.ravel().tolist())
    return vector is not None and not _TRUTH_VALUES.isdisjoint(map(type, vector))


def _as_lists(vectors: Iterable[Any]) -> pa.Array:
    return pa.array(vectors, pa.list_(pa.float32()), from_pandas=False)


def _is_list(vector: Any) -> bool:
    try:
        _as_lists([vector])
    except _NO_LISTS:
        return False
    return True
