"""Residual quantisation: level by level, the nearest centroid of what the levels before left over.

There is one global codebook per level (paper, section 3.2). The three methods differ in how the
codebooks are learned and in the space they live in, not in how they are used.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.tokenizer import rq_vae
from model.tokenizer.codebook import vector_width
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.kmeans import fit_kmeans, within_limit
from model.tokenizer.nearest import nearest_centroid, row_blocks, shared_part
from model.tokenizer.sids import sid_room

if TYPE_CHECKING:
    from model.params import CodebookParams

logger = logging.getLogger("onepiece")

Metric = Literal["cosine", "l2"]

BALANCE = 11, 10  # largest cluster over the mean size, of the balanced method, as a fraction
MAX_SAMPLE_BYTES = 2**31  # of float32 vectors in memory while fitting


@dataclass(frozen=True)
class Quantizer:
    """Codebooks and the mapping into their space.

    Attributes:
        metric: ``cosine`` brings every vector to length 1 first.
        centroids: per level (K, dim) float32.
        encoder: weights of the RQ-VAE, by name; empty where vectors are clustered as they are.
    """

    metric: Metric
    centroids: tuple[np.ndarray, ...]
    encoder: Mapping[str, np.ndarray]

    @property
    def sizes(self) -> list[int]:
        return [len(level) for level in self.centroids]

    @property
    def width(self) -> int:
        """Numbers in a vector, before any encoder."""
        return vector_width(self.centroids, self.encoder)

    @property
    def shared(self) -> np.ndarray:
        """(dim,) float32 common part of the last level's codes, to subtract before comparing them.

        It is 0 where there are levels before, which have removed it already.
        """
        last = self.centroids[-1]
        return shared_part(last) if len(self.centroids) == 1 else np.zeros_like(last[0])

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) float32 vectors -> (n, dim) float32 in the codebooks' space."""
        prepared = normalized(vectors) if self.metric == "cosine" else vectors
        return rq_vae.encode(self.encoder, prepared) if self.encoder else prepared

    def residuals(self, encoded: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Residuals after the given levels.

        Args:
            encoded: (n, dim) float32.
            codes: (n, l) codes of the first l levels, from 0.
        """
        for level, of_level in zip(self.centroids, codes.T, strict=False):
            encoded = encoded - level[of_level]
        return encoded


@dataclass(frozen=True)
class Assignment:
    """Codes of N items, and the squared residuals that they leave.

    Attributes:
        codes: (N, L) int32, from 0.
        distances: (N, L) float32, squared length of the residual after each level.
    """

    codes: np.ndarray
    distances: np.ndarray


def fit_quantizer(vectors: ItemVectors, params: "CodebookParams", seed: int) -> Quantizer:
    """Learn the codebooks from a seeded sample of the items.

    Args:
        vectors: of all items.
        params: method, sizes, metric, initialization, iterations and training_sample.
        seed: decides the sample and everything random.
    """
    generator = np.random.default_rng(seed)
    sample = _sample(vectors, params.training_sample, generator)
    if params.metric == "cosine":
        for rows in row_blocks(len(sample)):
            sample[rows] = normalized(sample[rows])
    if params.method == "rq_vae":
        fit = rq_vae.fit if params.metric == "cosine" else rq_vae.fit_in_any_unit
        fitted = fit(
            sample, params.sizes, epochs=params.iterations, generator=generator, what=vectors.source
        )
        return Quantizer(params.metric, fitted.codebooks, fitted.encoder)
    shared = shared_part(sample)
    sample -= shared
    first, *others = _fit_levels(sample, params, generator, vectors.source)
    return Quantizer(params.metric, (first + shared, *others), {})


def _fit_levels(
    sample: np.ndarray, params: "CodebookParams", generator: np.random.Generator, source: str
) -> list[np.ndarray]:
    """Per level (K, width) float32 centroids; overwrites the (n, width) sample with residuals."""
    balanced = params.method == "balanced_residual_kmeans"
    levels: list[np.ndarray] = []
    parents = np.zeros(len(sample), np.int64)
    for number, size in enumerate(params.sizes, 1):
        centroids = fit_kmeans(
            sample,
            size,
            iterations=params.iterations,
            initialization=params.initialization,
            limit=balanced_room(len(sample), [size]) if balanced else None,
            generator=generator,
            what=f"{source}: k-means, level {number}",
        )
        levels.append(centroids)
        if number == len(params.sizes):
            break
        codes = nearest_centroid(centroids)(sample)
        if balanced:  # as the items will be; the next level is fitted to their residuals
            room = balanced_room(len(sample), params.sizes[:number])
            codes = within_limit(sample, centroids, codes, parents, room)
            parents = parents * size + codes
        _leave_residuals(sample, centroids, codes)
    return levels


def balanced_room(num_items: int, sizes: Sequence[int]) -> int:
    """Items that one prefix of levels of these sizes may hold, where clusters are balanced."""
    over, under = BALANCE  # integers: 1.1 * 100 is above 110
    return -(-over * num_items // (under * sid_room(sizes)))


def _leave_residuals(sample: np.ndarray, centroids: np.ndarray, codes: np.ndarray) -> None:
    """Subtract each vector's centroid; in place."""
    for rows in row_blocks(len(sample)):
        sample[rows] -= centroids[codes[rows]]


def quantize(quantizer: Quantizer, vectors: ItemVectors, **blocks: int) -> Assignment:
    """Assign codes to all items, a block at a time; they do not depend on the size of the blocks.

    With an encoder or a rotation, the last bits of the distances may depend on it.
    """
    searches = [nearest_centroid(level) for level in quantizer.centroids]
    shape = len(vectors), len(searches)
    codes, distances = np.empty(shape, np.int32), np.empty(shape, np.float32)
    for rows, block in vectors.blocks(what="assigning codes", **blocks):
        residuals = quantizer.encode(block)
        for level, (centroids, search) in enumerate(
            zip(quantizer.centroids, searches, strict=True)
        ):
            codes[rows, level] = search(residuals)
            residuals = residuals - centroids[codes[rows, level]]
            distances[rows, level] = np.einsum("ij,ij->i", residuals, residuals)
    return Assignment(codes, distances)


def measure(quantizer: Quantizer, vectors: ItemVectors, codes: np.ndarray) -> np.ndarray:
    """(N, L) float32 squared residuals of N items whose (N, L) codes are given."""
    distances = np.empty(codes.shape, np.float32)
    for rows, block in vectors.blocks(what="measuring codes"):
        residuals = quantizer.encode(block)
        for level, centroids in enumerate(quantizer.centroids):
            residuals = residuals - centroids[codes[rows, level]]
            distances[rows, level] = np.einsum("ij,ij->i", residuals, residuals)
    return distances


def quantize_below(
    quantizer: Quantizer, encoded: np.ndarray, codes: np.ndarray, level: int
) -> Assignment:
    """Choose the codes after ``level`` again for items whose codes up to it were changed.

    Args:
        quantizer: the codebooks.
        encoded: (n, dim) float32.
        codes: (n, L) int32; the first ``level`` columns are kept.
        level: number of levels that are kept.
    """
    codes = codes.copy()
    distances = np.empty(codes.shape, np.float32)
    for number, centroids in enumerate(quantizer.centroids):
        if number >= level:
            codes[:, number] = nearest_centroid(centroids)(encoded)
        encoded = encoded - centroids[codes[:, number]]
        distances[:, number] = np.einsum("ij,ij->i", encoded, encoded)
    return Assignment(codes, distances)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """(n, width) float32 of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sample_size(vectors: ItemVectors, wanted: int) -> int:
    """Vectors that fit the codebooks: as many as wanted, as exist and as fit into memory."""
    return min(wanted, MAX_SAMPLE_BYTES // (4 * vectors.width), len(vectors))


def _sample(vectors: ItemVectors, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Rows of a seeded sample in the order of the items."""
    count, asked_for = sample_size(vectors, wanted), min(wanted, len(vectors))
    if count < asked_for:
        logger.info(
            "%s: the codebooks are fitted to %d vectors and not to %d as codebook.training_sample "
            "asks: more vectors of %d numbers would take over %.0f GiB",
            vectors.source,
            count,
            asked_for,
            vectors.width,
            MAX_SAMPLE_BYTES / 2**30,
        )
    drawn = generator.choice(len(vectors), count, replace=False, shuffle=False)
    return vectors.take(np.sort(drawn))
