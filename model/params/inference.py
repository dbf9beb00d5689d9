"""Sections about recommending and about judging what was recommended."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from model.params.section import (
    NO_TRUTH_VALUE,
    Integer,
    NonNegative,
    Positive,
    Section,
    Weight,
)

SCORED_CUTOFF = 10  # of evaluation_report.cutoffs


class CascadeParams(Section):
    """Inference: beams propose items, embeddings re-score them, filters remove unwanted ones."""

    beam_width: Positive
    num_sids: NonNegative  # K', semantic IDs kept after the last level; 0 asks search alone
    # Action types whose items are removed.
    filter_history: list[Annotated[Integer, Field(ge=0, le=2)]]
    filter_cold: bool  # items without a training event
    logq_weight: Weight  # subtracted log q when re-scoring; 0 is off
    # Blend of the beam's log-probability.
    beam_weight: Annotated[Weight | Literal["validation"], NO_TRUTH_VALUE]
    max_per_group: NonNegative  # items of one ``group_feature`` value; 0 is no cap
    group_feature: str  # an item feature, read when max_per_group is not 0
    default_action: Literal["click", "conversion"]  # asked for where the input names none
    batch_size: Positive
    search: Literal["exact", "ivf", "hnsw"]  # of the items that fill up a short list
    # Raw ids of items that nobody is recommended.
    blocked_items: tuple[Annotated[Integer | str, NO_TRUTH_VALUE], ...]


class EvaluationReportParams(Section):
    """Evaluation over the full catalogue."""

    cutoffs: list[Positive]
    bootstrap_samples: Positive
    max_users: Positive  # a seeded sample when there are more
    action_weights: tuple[Weight, Weight, Weight]

    @field_validator("cutoffs")
    @classmethod
    def _scores_are_measured(cls, cutoffs: list[int]) -> list[int]:
        if len(set(cutoffs)) < len(cutoffs):
            raise ValueError("one is there twice; take it out")
        if SCORED_CUTOFF not in cutoffs:
            raise ValueError(
                f"{SCORED_CUTOFF} must be among them: the score and the checks are defined there"
            )
        return cutoffs

    @field_validator("action_weights")
    @classmethod
    def _weigh_somebody(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if not any(weights):
            raise ValueError("all are 0: no user would count; give one of them a weight above 0")
        return weights
