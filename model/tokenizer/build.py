"""Build a codebook: the collaborative tokenizer, and every modality's for comparison."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.tokenizer.codebook import Codebook
from model.tokenizer.growth import Growth, extend, generation_distance
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.published import open_published
from model.tokenizer.quality import cooccurrence, neighborhood
from model.tokenizer.quantizer import sample_size
from model.tokenizer.report import report_row
from model.tokenizer.room import has_room
from model.tokenizer.tokenize import Tokenization, tokenize
from model.tokenizer.usage import level_usage

if TYPE_CHECKING:
    from model.params import CodebookParams

logger = logging.getLogger("onepiece")


def build_codebook(
    fused_embeddings: FusedEmbeddings,
    modality_embeddings: Sequence[ModalityEmbedding],
    interactions: Interactions,
    params: "CodebookParams",
    seed: int,
) -> Codebook:
    """Semantic IDs of the collaborative vectors, and the report of every source.

    Args:
        fused_embeddings: of all items.
        modality_embeddings: reported beside it where ``per_modality`` says so.
        interactions: of the same items.
        params: see ``CodebookParams``; ``frozen_from`` extends a published codebook.
        seed: decides everything random.

    Raises:
        InputError: vectors that are not finite, fewer semantic IDs than items, or a published
            codebook that does not fit.
    """
    vectors = ItemVectors.of_fused(fused_embeddings)
    made = (  # first: these are all items, and need the most room
        _new_generation(vectors, interactions, params, seed)
        if params.frozen_from is None
        else _extension(open_published(params.frozen_from), vectors, interactions, params, seed)
    )
    modalities = _reported(modality_embeddings, params) if params.per_modality else []
    report = [report_source(vectors, interactions, params, seed) for vectors in modalities]
    return replace(made, report=[*report, *made.report])


def _reported(
    modality_embeddings: Sequence[ModalityEmbedding], params: "CodebookParams"
) -> Iterator[ItemVectors]:
    """Modalities that fit into a codebook of their own: all, unless a published one is extended.

    Published items may share their IDs beyond the capacity; those of a comparison may not.
    """
    for vectors in map(ItemVectors.of_modality, modality_embeddings):
        if has_room(len(vectors), params):
            yield vectors
        else:
            logger.warning(
                "codebook: %s covers %d items, more than %s spell IDs for; its row of the report "
                "is left out",
                vectors.source,
                len(vectors),
                params.sizes,
            )


def _new_generation(
    vectors: ItemVectors, interactions: Interactions, params: "CodebookParams", seed: int
) -> Codebook:
    tokens = tokenize(vectors, params, seed)
    codes = _codes_by_item(tokens, interactions)
    row = _row(tokens, codes, interactions, params, seed)
    return _codebook(tokens, codes, row, interactions, _nothing_retired(codes), params.method, 0)


def _extension(
    frozen: Codebook,
    vectors: ItemVectors,
    interactions: Interactions,
    params: "CodebookParams",
    seed: int,
) -> Codebook:
    growth = extend(frozen, vectors, interactions.raw_item_ids, params, seed)
    tokens, revision = growth.tokens, frozen.revision + 1
    logger.info(
        "codebook: revision %d of generation %s adds %d items to %d published ones; %d of them "
        "have a vector and got codes, %d of these outside their first prefix",
        revision,
        frozen.generation,
        growth.added,
        len(frozen.published),
        growth.assigned,
        growth.spilled,
    )
    codes = np.maximum(growth.published, _codes_by_item(tokens, interactions))
    grown = {"sample": 0, "growth": _growth_row(frozen, growth)}  # nothing was fitted
    reported = replace(tokens, first=growth.unpublished)
    row = _row(reported, codes, interactions, params, seed) | grown
    retired = growth.retired_ids, growth.retired
    return _codebook(tokens, codes, row, interactions, retired, frozen.method, revision)


def report_source(
    vectors: ItemVectors, interactions: Interactions, params: "CodebookParams", seed: int
) -> dict[str, Any]:
    """The report's row of a tokenizer of these vectors alone.

    Raises:
        InputError: see :func:`model.tokenizer.tokenize.tokenize`.
    """
    tokens = tokenize(vectors, params, seed)
    return _row(tokens, _codes_by_item(tokens, interactions), interactions, params, seed)


def _row(
    tokens: Tokenization,
    codes: np.ndarray,
    interactions: Interactions,
    params: "CodebookParams",
    seed: int,
) -> dict[str, Any]:
    near = {"vicinity": params.neighbors, "seed": seed}
    quality = {
        "neighborhood": neighborhood(tokens.quantizer, tokens.vectors, tokens.final.codes, **near),
        "cooccurrence": cooccurrence(tokens.quantizer, codes, interactions, **near),
    }
    sample = sample_size(tokens.vectors, params.training_sample)
    facts = {"method": params.method, "sample": sample, "quality": quality}
    return report_row(tokens) | facts


def _codes_by_item(tokens: Tokenization, interactions: Interactions) -> np.ndarray:
    """(I + 1, L) int32 from 1; 0 where there is none."""
    codes = np.zeros((interactions.num_items + 1, len(tokens.quantizer.sizes)), np.int32)
    codes[tokens.vectors.item_ids] = tokens.final.codes + 1
    return codes


def _growth_row(frozen: Codebook, growth: Growth) -> dict[str, Any]:
    usage = level_usage(growth.tokens.first.codes[:, 0], frozen.sizes[0])
    return {
        "generation": frozen.generation,
        "revision": frozen.revision + 1,
        "published": len(frozen.published),
        "retired": len(growth.retired),
        "added": growth.added,
        "assigned": growth.assigned,
        "spilled": growth.spilled,
        "generation_distance": generation_distance(frozen),
        "published_distance": growth.published_distance,
        "unaligned_distance": growth.unaligned_distance,
        "largest_share": usage["largest_share"],
    }


def _nothing_retired(codes: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    return pa.array([], pa.large_string()), np.zeros((0, codes.shape[1]), np.int32)


def _codebook(
    tokens: Tokenization,
    codes: np.ndarray,
    row: dict[str, Any],
    interactions: Interactions,
    retired: tuple[pa.Array, np.ndarray],
    method: str,
    revision: int,
) -> Codebook:
    """Its table of published IDs has everything ever published, today's items first."""
    have = np.flatnonzero((codes[1:] > 0).all(axis=1))
    raw_ids = interactions.raw_item_ids.cast(pa.large_string()).take(pa.array(have))
    published = np.concatenate([codes[have + 1], retired[1]])
    table = {"raw_id": pa.concat_arrays([raw_ids, retired[0]])} | {
        f"sid{level}": of_level for level, of_level in enumerate(published.T, 1)
    }
    return Codebook.of(
        codes,
        tokens.quantizer.centroids,
        [row],
        method=method,
        metric=tokens.quantizer.metric,
        encoder=tokens.quantizer.encoder,
        read_published=partial(pa.table, table),
        revision=revision,
    )
