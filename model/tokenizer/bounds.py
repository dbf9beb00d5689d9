"""Repeated nearest-centroid search for the same vectors while the centroids move.

By the triangle inequality, a centroid's distance to a vector shrinks by at most what the centroid
moved. As in Yinyang k-means (Ding et al. 2015), every vector keeps a lower bound of its distance to
each group of centroids, and is compared only with groups that their bound does not rule out. The
bounds allow for float32 rounding: the codes are those of a comparison with all centroids.
"""

from collections.abc import Callable

import numpy as np
import torch

from model.tokenizer.bounds_kernels import BLOCK_ROWS, refine
from model.tokenizer.nearest import nearest_centroid
from model.tokenizer.tiles import LANES, NOBODY, fill_tiles

_GROUPS = 64  # at most, of whole tiles: 256 bytes a vector
_POWER_ITERATIONS = 4


def repeated_search(vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare repeated nearest-centroid search for (n, width) float32 vectors.

    Returns:
        A function of (K, width) float32 centroids, which move a little from call to call, that
        returns (n,) int32 codes. A GPU compares with all centroids, which is faster there.
    """
    if torch.cuda.is_available():
        return lambda centroids: nearest_centroid(centroids)(vectors)
    return BoundedSearch(vectors)


class BoundedSearch:
    """Search on the CPU that keeps bounds of the distances from one call to the next."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._before: np.ndarray | None = None
        self._bounds: _Bounds | None = None

    def __call__(self, centroids: np.ndarray) -> np.ndarray:
        """(K, width) float32 -> (n,) int32 nearest centroids, ties by number."""
        if self._before is None:  # seeds move too far for bounds to be of use
            self._codes = nearest_centroid(centroids)(self._vectors)
        else:
            if self._bounds is None:
                self._bounds = _Bounds(centroids, len(self._vectors))
            self._bounds.refine(self._vectors, centroids, self._before, self._codes)
        self._before = centroids
        return self._codes.copy()


class _Bounds:
    """Fixed groups of centroids, and lower bounds of the distances to them."""

    def __init__(self, centroids: np.ndarray, num_vectors: int) -> None:
        tiles = neighboring_tiles(centroids)
        per_group = -(-len(tiles) // _GROUPS)
        num_groups = -(-len(tiles) // per_group)
        self._members = np.full((num_groups * per_group, LANES), NOBODY, np.int32)
        self._members[: len(tiles)] = tiles
        rows, lanes = np.nonzero(self._members != NOBODY)
        self._groups = np.empty(len(centroids), np.int32)
        self._groups[self._members[rows, lanes]] = rows // per_group
        blocks = -(-num_vectors // BLOCK_ROWS)
        self._lower = np.full((blocks, num_groups, BLOCK_ROWS), -np.inf, np.float32)

    def refine(
        self, vectors: np.ndarray, centroids: np.ndarray, before: np.ndarray, codes: np.ndarray
    ) -> None:
        """Update ``codes`` in place from the previous centroids to the present ones."""
        moved = np.linalg.norm(centroids.astype(np.float64) - before, axis=1)
        drifts = np.zeros(self._lower.shape[1])
        np.maximum.at(drifts, self._groups, moved)
        drifts = np.nextafter(drifts.astype(np.float32), np.float32(np.inf))
        tiles = fill_tiles(centroids, self._members)
        refine(vectors, centroids, tiles, self._members, self._groups, drifts, self._lower, codes)


def neighboring_tiles(centroids: np.ndarray) -> np.ndarray:
    """Halve centroids across their longest axis until each part fits into a tile.

    Args:
        centroids: (K, width) float32.

    Returns:
        (ceil(K / LANES), LANES) int32 members, ascending, then ``NOBODY``. Consecutive tiles are
        close to each other.
    """
    tiles = np.full((-(-len(centroids) // LANES), LANES), NOBODY, np.int32)
    pending = [(np.arange(len(centroids)), 0, len(tiles))]
    while pending:
        part, first, last = pending.pop()
        if last - first == 1:
            tiles[first, : len(part)] = np.sort(part)
            continue
        middle = (first + last) // 2
        size = -(-len(part) * (middle - first) // (last - first))
        part = part[np.argsort(_along_longest_axis(centroids[part]), kind="stable")]
        pending += [(part[:size], first, middle), (part[size:], middle, last)]
    return tiles


def _along_longest_axis(points: np.ndarray) -> np.ndarray:
    """(n,) projections of (n, width) points on roughly their first principal axis."""
    centered = points - points.mean(axis=0)
    centered /= max(np.abs(centered).max(), np.finfo(np.float32).tiny)  # the products cube it
    axis = centered[np.einsum("ij,ij->i", centered, centered).argmax()]
    for _ in range(_POWER_ITERATIONS):
        axis = centered.T @ (centered @ axis)
        axis = axis / max(np.linalg.norm(axis), np.finfo(np.float32).tiny)
    return centered @ axis
