"""The nearest centroid of many vectors: faiss on the CPU, torch on a GPU.

Vectors are scored in blocks of one shape, so that the answer does not depend on how many are asked
for at once. A centroid may have a price, which is added to its squared distance: balanced
clustering makes crowded ones expensive.
"""

from typing import Protocol

import faiss
import numpy as np
import torch

from model.tokenizer.item_vectors import BLOCK_ROWS


class Nearest(Protocol):
    """Says which centroid is nearest."""

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) float32 -> (n,) int32 numbers of centroids, from 0."""
        ...


def nearest_centroid(centroids: np.ndarray, prices: np.ndarray) -> Nearest:
    """Prepare the search.

    Args:
        centroids: (K, width) float32.
        prices: (K,) float32, added to the squared distances.
    """
    if torch.cuda.is_available():
        return _TorchNearest(centroids, prices)
    return _FaissNearest(centroids, prices)


class _FaissNearest:
    """Exact search; with prices as an inner product with one more dimension."""

    def __init__(self, centroids: np.ndarray, prices: np.ndarray) -> None:
        width = centroids.shape[1]
        self._priced = bool(prices.any())
        if self._priced:
            offsets = (np.square(centroids).sum(axis=1) + prices) / 2.0
            self._index = faiss.IndexFlatIP(width + 1)
            self._index.add(np.column_stack([centroids, -offsets]).astype(np.float32))
        else:
            self._index = faiss.IndexFlatL2(width)
            self._index.add(np.ascontiguousarray(centroids, np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        if self._priced:
            vectors = np.column_stack([vectors, np.ones(len(vectors), np.float32)])
        codes = np.empty(len(vectors), np.int32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = np.ascontiguousarray(vectors[start : start + BLOCK_ROWS])
            codes[start : start + BLOCK_ROWS] = self._index.search(block, 1)[1][:, 0]
        return codes


class _TorchNearest:
    """The same on the first GPU, in full float32 precision."""

    def __init__(self, centroids: np.ndarray, prices: np.ndarray) -> None:
        self._centroids = torch.from_numpy(np.ascontiguousarray(centroids, np.float32)).cuda()
        offsets = np.square(centroids).sum(axis=1) + prices
        self._offsets = torch.from_numpy(offsets.astype(np.float32)).cuda() / 2.0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        codes = np.empty(len(vectors), np.int32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = torch.from_numpy(np.ascontiguousarray(vectors[start : start + BLOCK_ROWS]))
            scores = torch.addmm(self._offsets, block.cuda(), self._centroids.T, beta=-1.0)
            codes[start : start + BLOCK_ROWS] = scores.argmax(dim=1).to(torch.int32).cpu().numpy()
        return codes
