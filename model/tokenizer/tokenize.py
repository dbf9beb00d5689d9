"""From one source's vectors to its semantic IDs: fit, assign, re-assign."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.tokenizer import reassignment
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.quantizer import (
    Assignment,
    Quantizer,
    balanced_room,
    fit_quantizer,
    quantize,
)
from model.tokenizer.room import require_room
from model.tokenizer.sids import prefix_keys, sid_room
from model.tokenizer.spill import spill
from model.tokenizer.usage import collapsed_share, largest_share

if TYPE_CHECKING:
    from model.params import CodebookParams

logger = logging.getLogger("onepiece")

_MOVED_AT_ONCE = 65_536


@dataclass(frozen=True)
class Tokenization:
    """Semantic IDs of N items of one source.

    Attributes:
        vectors: what was tokenized.
        quantizer: the codebooks.
        first: codes before re-assignment, the nearest ones unless clusters are balanced.
        final: codes after it, with their distances.
        capacity: items that may share a semantic ID.
        nearest_share: of the items, those nearest to the most used first centroid.
    """

    vectors: ItemVectors
    quantizer: Quantizer
    first: Assignment
    final: Assignment
    capacity: int
    nearest_share: float

    @property
    def spilled(self) -> np.ndarray:
        """(N,) bool, items that had to leave their prefix."""
        return (self.first.codes[:, :-1] != self.final.codes[:, :-1]).any(axis=1)


def tokenize(vectors: ItemVectors, params: "CodebookParams", seed: int) -> Tokenization:
    """Learn codebooks, assign every item, and re-assign those that share a semantic ID.

    Raises:
        InputError: fewer semantic IDs than items, with the capacity that is needed.
    """
    require_room(len(vectors), params, vectors.source)
    quantizer = fit_quantizer(vectors, params, seed)
    nearest = quantize(quantizer, vectors)
    _warn(quantizer, nearest.codes, vectors.source, params.training_sample)
    first = balanced(quantizer, vectors, nearest, params)
    nobody = np.zeros(len(vectors), bool)
    final = resolve(quantizer, vectors, first, nobody, params, seed)
    share = largest_share(nearest.codes[:, 0])
    return Tokenization(vectors, quantizer, first, final, params.capacity, share)


def resolve(
    quantizer: Quantizer,
    vectors: ItemVectors,
    first: Assignment,
    pinned: np.ndarray,
    params: "CodebookParams",
    seed: int,
) -> Assignment:
    """Re-assign items that share a semantic ID.

    Args:
        quantizer: the codebooks.
        vectors: of the first len(vectors) items; all others are pinned.
        first: codes of all items.
        pinned: (N,) bool, items that keep their codes.
        params: reassignment, neighbors and capacity.
        seed: of the paper's random fall-back.

    Returns:
        Codes and distances of all items.
    """
    sizes, capacity = quantizer.sizes, params.capacity
    if params.reassignment == "none":
        return first
    if params.reassignment == "paper":
        last = reassignment.reassign_paper(
            prefix_keys(first.codes[:, :-1], sizes[:-1]),
            first.codes[:, -1],
            pinned,
            quantizer.centroids[-1] - quantizer.shared,
            neighbors=params.neighbors,
            capacity=capacity,
            seed=seed,
        )
        return _with_last_code(quantizer, vectors, first, last)
    rooms = [capacity * sid_room(sizes[level + 1 :]) for level in range(len(sizes) - 1)]
    relieved = spill(quantizer, vectors, first, pinned, rooms)[0]
    prefixes, shared = relieved.codes[:, :-1], quantizer.shared

    def residuals_of(items: np.ndarray) -> np.ndarray:
        residuals = _residuals(quantizer, vectors, items, prefixes[items])
        residuals -= shared
        return residuals

    last = reassignment.reassign_exact(
        prefix_keys(prefixes, sizes[:-1]),
        relieved.codes[:, -1],
        relieved.distances[:, -1],
        pinned,
        quantizer.centroids[-1] - shared,
        residuals_of,
        capacity=capacity,
    )
    return _with_last_code(quantizer, vectors, relieved, last)


def balanced(
    quantizer: Quantizer, vectors: ItemVectors, nearest: Assignment, params: "CodebookParams"
) -> Assignment:
    """Codes before any re-assignment; the balanced method limits the sizes of clusters.

    Not on the last of several levels, whose codes only tell the items of one cluster apart.

    Args:
        quantizer: the codebooks.
        vectors: of all items.
        nearest: their nearest codes, which the other methods keep.
        params: method.
    """
    if params.method != "balanced_residual_kmeans":
        return nearest
    limited = max(1, len(quantizer.sizes) - 1)
    rooms = [
        balanced_room(len(vectors), quantizer.sizes[:level]) for level in range(1, limited + 1)
    ]
    return spill(quantizer, vectors, nearest, np.zeros(len(vectors), bool), rooms)[0]


def _with_last_code(
    quantizer: Quantizer, vectors: ItemVectors, before: Assignment, last: np.ndarray
) -> Assignment:
    """Replace the codes of the last level, and update their distances."""
    codes, distances = before.codes.copy(), before.distances.copy()
    codes[:, -1] = last
    moved = np.flatnonzero(last != before.codes[:, -1])
    for start in range(0, len(moved), _MOVED_AT_ONCE):
        items = moved[start : start + _MOVED_AT_ONCE]
        residuals = _residuals(quantizer, vectors, items, codes[items])
        distances[items, -1] = np.einsum("ij,ij->i", residuals, residuals)
    return Assignment(codes, distances)


def _residuals(
    quantizer: Quantizer, vectors: ItemVectors, items: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """(n, dim) residuals of the items' vectors after the given (n, l) codes."""
    return quantizer.residuals(quantizer.encode(vectors.take(items)), codes)


def _warn(quantizer: Quantizer, nearest: np.ndarray, source: str, training_sample: int) -> None:
    """Warn of unused and crowded codes, by the (N, L) nearest ones: balancing would hide both."""
    for number, (codes, size) in enumerate(zip(nearest.T, quantizer.sizes, strict=True), 1):
        used = len(np.unique(codes))
        if used == size:
            continue
        reason = "too few items differ for more, or they lie too close together"
        if training_sample < min(size, len(nearest)):
            reason = f"codebook.training_sample is {training_sample:,}: raise it above the codes"
        logger.warning("%s: level %d uses %d of %d codes; %s", source, number, used, size, reason)
    largest = largest_share(nearest[:, 0])
    if largest > collapsed_share(quantizer.sizes[0]):
        logger.warning(
            "%s: one first code holds %.0f %% of all items; nearly all vectors are alike",
            source,
            100.0 * largest,
        )
