"""The section about semantic IDs."""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from model.params.section import Integer, Positive, Section


class CodebookParams(Section):
    """How item vectors are quantised into semantic IDs."""

    method: Literal["residual_kmeans", "balanced_residual_kmeans", "rq_vae"]
    sizes: Annotated[list[Annotated[Integer, Field(ge=2, le=2**20)]], Field(min_length=1)]
    metric: Literal["cosine", "l2"]
    initialization: Literal["kmeans++", "sample"]
    iterations: Positive
    training_sample: Positive  # vectors that fit the centroids; all items are assigned
    reassignment: Literal["none", "paper", "exact"]
    neighbors: Positive  # of the paper's re-assignment
    capacity: Positive  # items per semantic ID
    per_modality: bool  # report every modality's own tokenizer beside the collaborative one
    frozen_from: str | None  # a published codebook folder: its codebooks and IDs stay as they are

    @field_validator("sizes")
    @classmethod
    def _ids_fit_a_number(cls, sizes: list[int]) -> list[int]:
        if math.prod(sizes) >= 2**63:
            raise ValueError("their product, the number of semantic IDs, must be below 2^63")
        return sizes
