"""Measure codes that were chosen in a latent space in the space of the vectors themselves.

Two latent spaces, or one and the space of the vectors, have no common unit: an encoder that shrinks
everything would seem to lose nothing. So codes are measured with the codebooks that fit them best
among the vectors: level by level, each code's mean residual, as in residual k-means, whose figures
are then comparable.
"""

from collections.abc import Sequence

import numpy as np

from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.kmeans import cluster_sums
from model.tokenizer.quantizer import Quantizer


def in_input_space(
    quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray, moved: np.ndarray
) -> Quantizer:
    """Fit codebooks to the vectors themselves for given codes.

    Args:
        quantizer: with an encoder.
        vectors: N items.
        codes: (N, L) int32 from 0.
        moved: (N, L) int32, the codes after re-assignment. They give a code that ``codes`` leave
            unused its centroid, which is 0 where they leave it unused too.
    """
    plain = Quantizer(quantizer.metric, (), {})
    for level in range(len(quantizer.sizes)):
        means = _means(plain, vectors, codes, quantizer.sizes)
        unused = np.bincount(codes[:, level], minlength=len(means)) == 0
        if unused.any():
            means[unused] = _means(plain, vectors, moved, quantizer.sizes)[unused]
        plain = Quantizer(quantizer.metric, (*plain.centroids, means), {})
    return plain


def _means(
    plain: Quantizer, vectors: ItemVectors, codes: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """(K, width) float32 mean residuals of the codes of the level after those of ``plain``."""
    level = len(plain.centroids)
    sums, counts = np.zeros((sizes[level], vectors.width)), np.zeros(sizes[level], np.int64)
    for rows, block in vectors.blocks(what=f"means of level {level + 1}"):
        residuals = plain.residuals(plain.encode(block), codes[rows])
        of_block = cluster_sums(residuals, codes[rows, level], sizes[level])
        sums += of_block[0]
        counts += of_block[1]
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
