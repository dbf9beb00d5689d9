"""Sections about the trainings: optimiser, losses and schedule of work."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model.params.section import (
    Dropout,
    Epochs,
    NonNegative,
    NonNegativeFloat,
    Number,
    Positive,
    PositiveFloat,
    Section,
    Share,
)


class OptimizerParams(Section):
    """Muon for hidden matrices, AdamW for the rest, row-sparse AdamW for embedding tables."""

    hidden_matrices: Literal["muon", "adamw"]  # whose they are
    muon_lr: PositiveFloat
    muon_momentum: Annotated[Number, Field(ge=0.0, lt=1.0)]
    routed_experts: Literal["muon", "adamw"]  # whose theirs are, where the others are Muon's
    adamw_lr: PositiveFloat
    embedding_lr: PositiveFloat
    betas: tuple[Dropout, Dropout]
    weight_decay: NonNegativeFloat
    schedule: Literal["cosine", "constant_decay"]
    warmup_share: Share  # of all steps
    clip_norm: PositiveFloat
    ema_decay: Annotated[Number, Field(ge=0.0, lt=1.0)]  # 0 switches the average of weights off


class LossParams(Section):
    """Weights and form of the losses."""

    temperature: PositiveFloat
    infonce_weight: NonNegativeFloat
    sid_weights: list[NonNegativeFloat]  # one per semantic ID level; empty trains no decoder
    action_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]
    negatives: Literal["in_batch", "full_catalogue"]
    num_uniform_negatives: NonNegative
    logq: Literal["none", "static", "streaming"]
    cross_rank_negatives: bool
    label_smoothing: Dropout  # of InfoNCE, evenly over all items compared

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        if not any([self.infonce_weight, *self.sid_weights]):
            raise ValueError("infonce_weight and sid_weights are 0: nothing would be trained")
        if not any(self.action_weights):
            raise ValueError("action_weights are all 0: no event would be a target")
        return self


class TrainingParams(Section):
    """Settings of one training run, ``encoder_checkpoint`` or ``recommender_checkpoint``."""

    epochs: Epochs  # a fraction is a part of an epoch
    batch_size: Positive  # sequences per step over all ranks
    accumulation_steps: Positive
    loss: LossParams
    patience: NonNegative  # validations without a better NDCG@10 before stopping; 0 never stops
    validate_every_epochs: Epochs
    max_validation_users: Positive
    checkpoint_minutes: PositiveFloat
    precision: Literal["fp32", "bf16"]
    shard_tables: bool  # rows of large tables divided among processes; whole copies otherwise
    initialize_from_encoder: bool  # start from encoder_checkpoint's weights
    inherited_rate: Share  # of the learning rates: for weights that came from the encoder

    @model_validator(mode="after")
    def _stops_by_what_it_trains(self) -> Self:
        if self.patience and not self.loss.infonce_weight:
            raise ValueError(
                f"patience is {self.patience} and loss.infonce_weight 0: early stopping watches "
                "the NDCG@10 of embedding search, which such a training does not learn; set "
                "patience to 0 or give infonce_weight a weight"
            )
        return self
