"""Vectors and parameters for tokenizers: small, seeded, clustered."""

from pathlib import Path
from typing import Any

import numpy as np

from model.params import CodebookParams, Params
from model.tokenizer.item_vectors import ItemVectors

PARAMS_FILE = Path(__file__).parents[3] / "params.yaml"


def codebook_params(**changes: Any) -> CodebookParams:
    """The repository's, shrunk; a keyword per change."""
    values = Params.load(PARAMS_FILE).codebook.model_dump()
    values.update(sizes=[16, 16], iterations=5, neighbors=8, per_modality=False)
    values.update(changes)
    return CodebookParams.model_validate(values)


def clustered(num_items: int, width: int = 8, *, centres: int = 12, seed: int = 0) -> np.ndarray:
    """(num_items, width) float32 unit vectors around common centres."""
    generator = np.random.default_rng(seed)
    middles = generator.standard_normal((centres, width))
    vectors = middles[generator.integers(centres, size=num_items)]
    vectors = vectors + 0.3 * generator.standard_normal((num_items, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def item_vectors(matrix: np.ndarray, source: str = "collaborative") -> ItemVectors:
    """Items 1..N in the order of the rows."""
    return ItemVectors.of(source, np.arange(1, len(matrix) + 1, dtype=np.int32), matrix)
