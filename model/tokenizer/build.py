"""The whole of a codebook: the collaborative tokenizer, and every modality's for comparison."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.tokenizer.codebook import Codebook
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.tokenize import report_row, tokenize

if TYPE_CHECKING:
    from model.params import CodebookParams


def build(
    fused_embeddings: FusedEmbeddings,
    modality_embeddings: Sequence[ModalityEmbedding],
    interactions: Interactions,
    params: "CodebookParams",
    seed: int,
) -> Codebook:
    """See :func:`model.tokenizer.codebook.build_codebook`."""
    compared = modality_embeddings if params.per_modality else []
    report = [
        report_row(tokenize(ItemVectors.of_modality(modality), params, seed))
        for modality in compared
    ]
    tokens = tokenize(ItemVectors.of_fused(fused_embeddings), params, seed)
    report.append(report_row(tokens))
    codes = np.zeros((interactions.num_items + 1, len(params.sizes)), np.int32)
    codes[tokens.vectors.item_ids] = tokens.final.codes + 1
    return Codebook.of(codes, tokens.quantizer.centroids, report)
