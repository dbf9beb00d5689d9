"""The nearest centroid of many vectors: faiss on the CPU, torch on a GPU.

Vectors are scored in blocks of one fixed shape, so that results are batch-invariant.
"""

from collections.abc import Iterator
from typing import Protocol

import faiss
import numpy as np
import torch

from model.tokenizer.item_vectors import BLOCK_ROWS

_ROWS_AT_ONCE = 4096  # of a sample, in row-wise computations
_DROWNING = 2.0**14  # times the spread: squares of float32 then err by a thousandth of it


class Nearest(Protocol):
    """Nearest-centroid search."""

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) float32 -> (n,) int32 numbers of centroids, from 0."""
        ...


def nearest_centroid(centroids: np.ndarray) -> Nearest:
    """Prepare the search among (K, width) float32 centroids."""
    if torch.cuda.is_available():
        return TorchNearest(centroids, torch.device("cuda", torch.cuda.current_device()))
    return FaissNearest(centroids)


def shared_part(vectors: np.ndarray) -> np.ndarray:
    """The vectors' mean, where it is so large that their differences would vanish in squares.

    Args:
        vectors: (n, width) float32.

    Returns:
        (width,) float32 to subtract from them and from what they are compared with; zeros where
        they lie around the origin, so that nothing is rounded again.
    """
    center = vectors.mean(axis=0, dtype=np.float64)
    energy = np.einsum("ij,ij->", vectors, vectors, dtype=np.float64) / len(vectors)
    common = np.square(center).sum()
    drowns = common > _DROWNING * (energy - common)
    return (center if drowns else np.zeros_like(center)).astype(np.float32)


def squared_distances(vectors: np.ndarray, centroids: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,) float32 squared distance of each vector to its centroid, exactly 0 for equal ones."""
    distances = np.empty(len(vectors), np.float32)
    for rows in row_blocks(len(vectors)):
        residuals = vectors[rows] - centroids[codes[rows]]
        distances[rows] = np.einsum("ij,ij->i", residuals, residuals)
    return distances


def row_blocks(count: int) -> Iterator[slice]:
    """Slices of ``count`` rows, in order: a sample may be too large to be copied whole."""
    for start in range(0, count, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, count))


def centroid_costs(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(n, K) float32 squared distance to every centroid, up to a constant per vector."""
    return np.square(centroids).sum(axis=1) - 2.0 * vectors @ centroids.T


class FaissNearest:
    """Search with faiss, on the CPU."""

    def __init__(self, centroids: np.ndarray) -> None:
        self._center = _center(centroids)
        self._index = faiss.IndexFlatL2(centroids.shape[1])
        self._index.add(np.ascontiguousarray(centroids - self._center))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        codes = np.empty(len(vectors), np.int32)
        for rows, block in _blocks(vectors, self._center):
            codes[rows] = self._index.search(block, 1)[1][: rows.stop - rows.start, 0]
        return codes


class TorchNearest:
    """Search with torch, in float32 on one device."""

    def __init__(self, centroids: np.ndarray, device: torch.device) -> None:
        self._center = _center(centroids)
        self._centroids = torch.from_numpy(centroids - self._center).to(device)
        self._offsets = self._centroids.square().sum(dim=1) / 2.0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        codes = np.empty(len(vectors), np.int32)
        for rows, block in _blocks(vectors, self._center):
            on_device = torch.from_numpy(block).to(self._centroids.device)
            scores = torch.addmm(self._offsets, on_device, self._centroids.T, beta=-1.0)
            nearest = scores.argmax(dim=1)[: rows.stop - rows.start]
            codes[rows] = nearest.to(torch.int32).cpu().numpy()
        return codes


def _center(centroids: np.ndarray) -> np.ndarray:
    """(width,) float32 to subtract from both sides: a common part would swamp the differences."""
    return centroids.mean(axis=0, dtype=np.float64).astype(np.float32)


def _blocks(vectors: np.ndarray, center: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices and centred vectors, always ``BLOCK_ROWS`` of them: the last block is padded."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(vectors)))
        block = np.zeros((BLOCK_ROWS, len(center)), np.float32)
        np.subtract(vectors[rows], center, out=block[: rows.stop - start])
        yield rows, block
