"""Norm and fingerprint of every vector of a matrix, in one pass of constant memory."""

import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from model.compiled import compiled
from model.progress import track

_BYTES_PER_CHUNK = 1 << 25
_SEED, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_MINUS_ZERO = np.uint16(0x8000)
_EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
_SQUARES = np.square(np.nan_to_num(_EVERY_HALF), dtype=np.float32)  # a matrix holds finite ones


@dataclass(frozen=True)
class VectorAudit:
    """Result of one pass over a modality's matrix.

    Attributes:
        norms: (N,) float32, Euclidean.
        fingerprints: (N,) uint64, equal for equal vectors. Among twenty million different ones
            the chance of a single accidental match is one in a hundred thousand.
    """

    norms: np.ndarray
    fingerprints: np.ndarray


def audit_vectors(matrix: np.ndarray, name: str) -> VectorAudit:
    """Read a matrix once.

    Args:
        matrix: (N, width) float16, memory-mapped or not.
        name: of the modality, for the progress bar.
    """
    audit = VectorAudit(np.empty(len(matrix), np.float32), np.empty(len(matrix), np.uint64))
    rows = max(1, _BYTES_PER_CHUNK // (2 * matrix.shape[1]))
    chunks = [slice(first, first + rows) for first in range(0, len(matrix), rows)]

    def read(chunk: slice) -> None:
        bits = np.ascontiguousarray(matrix[chunk]).view(np.uint16)
        _audit(bits, _SQUARES, audit.norms[chunk], audit.fingerprints[chunk])
        _release(matrix)

    for _ in track(
        _side_by_side(read, chunks), total=len(chunks), what=f"auditing {name}", unit="chunk"
    ):
        pass
    return audit


def _side_by_side(read: Callable[[slice], None], chunks: list[slice]) -> Iterator[None]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(read, chunks)


def _release(matrix: np.ndarray) -> None:
    """Hand pages back to the page cache; those that another thread reads are mapped again."""
    if isinstance(matrix, np.memmap):
        matrix._mmap.madvise(mmap.MADV_DONTNEED)  # pyright: ignore[reportAttributeAccessIssue]


@compiled(nogil=True)
def _audit(bits, squares, norms, fingerprints):
    """Per row of ``bits`` (N, width) uint16: every step is a bijection of the one before it."""
    for row in range(bits.shape[0]):
        total = 0.0
        mixed = _SEED
        for column in range(bits.shape[1]):
            word = bits[row, column]
            total += squares[word]
            if word == _MINUS_ZERO:  # equal to zero
                word = np.uint16(0)
            mixed = (mixed ^ np.uint64(word)) * _PRIME
            mixed ^= mixed >> _HALF
        norms[row] = np.sqrt(total)
        fingerprints[row] = mixed
