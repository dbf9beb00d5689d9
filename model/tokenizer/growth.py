"""Extend a published codebook: new items get semantic IDs, and no published ID ever changes.

A generation is one set of codebooks. Items are matched by their raw id, since their numbers change
with the data; an ID stays taken even after its item has gone, so that a cached ID never refers to
another item. Published items that lie farther from their centroids than when the generation began
show that the vectors come from another encoder; then all vectors are rotated back into its space
(:mod:`model.tokenizer.alignment`). Where that does not help, it is time for a new generation.
"""

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from model.tokenizer.alignment import rotation_back
from model.tokenizer.codebook import Codebook
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.limits import overflow
from model.tokenizer.published import codes_of, recognise
from model.tokenizer.quantizer import Assignment, Quantizer, measure, quantize
from model.tokenizer.room import require_free_ids, require_same_form
from model.tokenizer.sids import prefix_keys
from model.tokenizer.tokenize import Tokenization, balanced, resolve
from model.tokenizer.usage import largest_share

if TYPE_CHECKING:
    from model.params import CodebookParams

logger = logging.getLogger("onepiece")

DRIFTED = 1.25  # times the distance when the generation began: the encoder must have changed


@dataclass(frozen=True)
class Growth:
    """What an extension did.

    Attributes:
        tokens: of all items with a vector, new and published.
        unpublished: their codes before re-assignment if nothing had been published; the report
            counts from there, as it did when the generation began.
        published: (I + 1, L) int32 from 1, the codes that items had before; 0 where none.
        retired: (R, L) int32 from 1, codes of published items that are no longer there.
        retired_ids: (R,) raw ids of those.
        added: items whose raw id is not among the published ones.
        assigned: those of them that have a vector, and so got codes.
        spilled: of these, those that had to leave their first prefix.
        published_distance: mean distance of published items to their centroids, as it is now.
        unaligned_distance: what it was before the vectors were rotated; None where they were not.
    """

    tokens: Tokenization
    unpublished: Assignment
    published: np.ndarray
    retired: np.ndarray
    retired_ids: pa.Array
    added: int
    assigned: int
    spilled: int
    published_distance: float | None
    unaligned_distance: float | None


def extend(
    frozen: Codebook,
    vectors: ItemVectors,
    raw_item_ids: pa.Array,
    params: "CodebookParams",
    seed: int,
) -> Growth:
    """Give every item that is not published a semantic ID of the frozen generation.

    Args:
        frozen: the generation as it was last published.
        vectors: of all items that have one, from the encoder of that generation or a later one.
        raw_item_ids: (I,) string, the input's id of item i at i - 1.
        params: method, sizes, reassignment and capacity, which may have been raised.
        seed: of the paper's random fall-back.

    Raises:
        InputError: codebooks of another shape or method, or no room left.
    """
    quantizer = _quantizer(frozen, vectors, params)
    published, absent = recognise(frozen, raw_item_ids)
    retired = codes_of(frozen.published.filter(absent))
    elsewhere = _without_vector(published, vectors)
    is_new = (published[vectors.item_ids] == 0).any(axis=1)
    require_free_ids(int(is_new.sum()), codes_of(frozen.published) - 1, params)
    codes = published[vectors.item_ids] - 1
    vectors, distances, unaligned = _in_its_space(frozen, quantizer, vectors, codes, ~is_new)
    distance = _mean_distance(distances)
    _warn_if_drifted(frozen, distance)
    nearest = quantize(quantizer, vectors)
    first = _first(nearest, codes, distances, ~is_new)
    others = np.concatenate([elsewhere, retired]) - 1
    everything = Assignment(
        np.concatenate([first.codes, others]),
        np.concatenate([first.distances, np.zeros(others.shape, np.float32)]),
    )
    pinned = np.concatenate([~is_new, np.ones(len(others), bool)])
    final = _resolve(quantizer, vectors, everything, pinned, params, seed)
    share = largest_share(nearest.codes[:, 0])
    tokens = Tokenization(vectors, quantizer, first, final, params.capacity, share)
    return Growth(
        tokens=tokens,
        unpublished=balanced(quantizer, vectors, nearest, params),
        published=published,
        retired=retired,
        retired_ids=frozen.published.filter(absent)["raw_id"].combine_chunks(),
        added=int((published[1:] == 0).any(axis=1).sum()),
        assigned=int(is_new.sum()),
        spilled=int(tokens.spilled.sum()),
        published_distance=distance,
        unaligned_distance=unaligned,
    )


def _resolve(
    quantizer: Quantizer,
    vectors: ItemVectors,
    everything: Assignment,
    pinned: np.ndarray,
    params: "CodebookParams",
    seed: int,
) -> Assignment:
    """As :func:`resolve`, for the items with a vector; an over-full ID counts as full.

    Published items may share an ID beyond today's capacity. The surplus ones keep that ID and take
    no room from others, so they are left out of the count.
    """
    count = len(vectors)
    places = prefix_keys(everything.codes, quantizer.sizes)
    kept = np.ones(len(pinned), bool)
    kept[np.flatnonzero(pinned)[_too_many(places[pinned], params.capacity)]] = False
    some = Assignment(everything.codes[kept], everything.distances[kept])
    some = resolve(quantizer, vectors.subset(kept[:count]), some, pinned[kept], params, seed)
    final = Assignment(everything.codes[:count].copy(), everything.distances[:count].copy())
    here = kept[:count]
    num_here = int(here.sum())
    final.codes[here], final.distances[here] = some.codes[:num_here], some.distances[:num_here]
    return final


def _too_many(places: np.ndarray, capacity: int) -> np.ndarray:
    """Positions of all but the first ``capacity`` items at each of the (P,) places."""
    alike = np.zeros(len(places), np.float32)
    return overflow(places, alike, np.zeros(len(places), bool), capacity)


def _quantizer(frozen: Codebook, vectors: ItemVectors, params: "CodebookParams") -> Quantizer:
    require_same_form(frozen, vectors.width, params)
    return Quantizer(frozen.metric, frozen.centroids, frozen.encoder)


def _without_vector(published: np.ndarray, vectors: ItemVectors) -> np.ndarray:
    """(n, L) codes of published items of today that have no vector today; they keep them."""
    absent = np.ones(len(published), bool)
    absent[vectors.item_ids] = False
    return published[absent & (published > 0).all(axis=1)]


def _first(
    nearest: Assignment, codes: np.ndarray, distances: np.ndarray, is_published: np.ndarray
) -> Assignment:
    """Published codes where there are any, with their distances, else the nearest ones.

    Not balanced with any method: the limit on cluster sizes shaped the codebooks when they were
    fitted; new items balanced among themselves would get codes that depend on their batch.
    """
    first = Assignment(nearest.codes.copy(), nearest.distances.copy())
    first.codes[is_published] = codes[is_published]
    first.distances[is_published] = distances
    return first


def _in_its_space(
    frozen: Codebook,
    quantizer: Quantizer,
    vectors: ItemVectors,
    codes: np.ndarray,
    is_published: np.ndarray,
) -> tuple[ItemVectors, np.ndarray, float | None]:
    """Rotate the vectors where that helps, and measure published items against their codes.

    Returns:
        All vectors; (P, L) squared distances of the published ones; their mean distance before the
        vectors were rotated, None where they were not.
    """
    known, their_codes = vectors.subset(is_published), codes[is_published]
    distances = measure(quantizer, known, their_codes)
    distance = _mean_distance(distances)
    if quantizer.encoder or not _drifted(frozen, distance):  # latents say little about vectors
        return vectors, distances, None
    rotation = rotation_back(quantizer, known, their_codes)
    if rotation is None:
        return vectors, distances, None
    logger.info(
        "published items lie %.3f from their centroids: another encoder, so all vectors are "
        "rotated back into the space of the generation",
        distance,
    )
    distances = measure(quantizer, replace(known, rotation=rotation), their_codes)
    return replace(vectors, rotation=rotation), distances, distance


def _drifted(frozen: Codebook, distance: float | None) -> bool:
    return distance is not None and distance > DRIFTED * generation_distance(frozen)


def _warn_if_drifted(frozen: Codebook, distance: float | None) -> None:
    if _drifted(frozen, distance):
        logger.warning(
            "items lie %.3f from their published centroids and lay %.3f when the generation began; "
            "the vectors come from another encoder: set codebook.frozen_from to null for a new "
            "generation",
            distance,
            generation_distance(frozen),
        )


def generation_distance(frozen: Codebook) -> float:
    """Mean distance of items to their centroids when the generation began.

    Not when it last grew: the distance may creep up, or exceed the warning, with each revision.
    """
    row = frozen.report[-1]
    now = row.get("codebook_distance", row["after"]["mean_distance"])  # its name in old reports
    return row.get("growth", {}).get("generation_distance", now)


def _mean_distance(distances: np.ndarray) -> float | None:
    """Of (P, L) squared ones of published items; None where there are none."""
    if len(distances) == 0:
        return None
    return float(np.sqrt(distances[:, -1], dtype=np.float64).mean())
