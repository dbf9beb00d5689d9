"""Measure codes that were chosen in a latent space in the space of the vectors themselves.

Two latent spaces, or one and the space of the vectors, have no common unit: an encoder that shrinks
everything would seem to lose nothing. So codes are measured with the codebooks that fit them best
among the vectors: level by level, each code's mean residual, as in residual k-means, whose figures
are then comparable.
"""

import numpy as np

from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.kmeans import cluster_sums
from model.tokenizer.quantizer import Quantizer


def in_input_space(quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray) -> Quantizer:
    """Fit codebooks to the vectors themselves for given codes.

    Args:
        quantizer: with an encoder.
        vectors: N items.
        codes: (N, L) int32 from 0; the centroid of an unused code is 0.
    """
    plain = Quantizer(quantizer.metric, (), {})
    for level, size in enumerate(quantizer.sizes):
        sums, counts = np.zeros((size, vectors.width)), np.zeros(size, np.int64)
        for rows, block in vectors.blocks(what=f"means of level {level + 1}"):
            residuals = plain.residuals(plain.encode(block), codes[rows])
            of_block = cluster_sums(residuals, codes[rows, level], size)
            sums += of_block[0]
            counts += of_block[1]
        means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        plain = Quantizer(quantizer.metric, (*plain.centroids, means), {})
    return plain
