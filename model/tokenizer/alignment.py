"""Rotate the vectors of a retrained encoder back into the space of an earlier generation.

Losses of inner products determine an encoder only up to a rotation. Published items reveal it,
since their semantic IDs tell where they were: at the sum of their centroids. Finding the rotation
that brings today's vectors nearest to those positions is the orthogonal Procrustes problem
(Schoenemann, 1966), solved by one singular value decomposition.
"""

from dataclasses import replace

import numpy as np

from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.quantizer import Quantizer, measure


def rotation_back(
    quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray
) -> np.ndarray | None:
    """Fit the rotation into the space of the codebooks; None where it brings vectors no nearer.

    This is judged on held-out items: few items, or vectors that are unrelated to the old ones, can
    always be rotated towards the centroids that they were fitted to.

    Args:
        quantizer: of the earlier generation, without an encoder.
        vectors: N published items, in today's space.
        codes: (N, L) their published codes, from 0.

    Returns:
        (width, width) float32 orthogonal, for :attr:`ItemVectors.rotation`.
    """
    fitted = np.arange(len(vectors)) % 2 == 0
    others, their_codes = vectors.subset(~fitted), codes[~fitted]
    if len(others) == 0:
        return None
    half = _rotation(quantizer, vectors.subset(fitted), codes[fitted])
    before, after = (
        measure(quantizer, them, their_codes)[:, -1].mean(dtype=np.float64)
        for them in (others, replace(others, rotation=half))
    )
    return _rotation(quantizer, vectors, codes) if after < before else None


def _rotation(quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray) -> np.ndarray:
    """(width, width) float32 orthogonal: vectors @ rotation lie nearest to their centroids."""
    covariance = np.zeros((vectors.width, vectors.width))
    for rows, block in vectors.blocks(what="aligning with published items"):
        encoded = quantizer.encode(block)
        places = encoded - quantizer.residuals(encoded, codes[rows])
        covariance += encoded.astype(np.float64).T @ places
    left, _, right = np.linalg.svd(covariance)
    return (left @ right).astype(np.float32)
