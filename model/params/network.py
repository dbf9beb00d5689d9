"""Sections about the network and its inputs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model.params.section import (
    Dropout,
    Integer,
    ModalityNames,
    NonNegative,
    NonNegativeFloat,
    Positive,
    Section,
)


class FeatureParams(Section):
    """Inputs of the item tower and the sequence; each can be switched off for an ablation."""

    item_id_dim: NonNegative  # width of the zero-initialised item id table; 0 switches it off
    hash_sizes: list[Positive]  # rows of each hashed item id table
    hash_dim: Positive
    item_id_dropout: Dropout  # of an item's id and hashed ids, per item, in training
    feature_dim: Positive  # width of every sparse, context and modality embedding
    modalities: ModalityNames  # model inputs, a subset of modality_embeddings.modalities
    item_features: bool
    user_features: bool
    life_cycle: bool
    popularity: bool
    relative_time: bool
    absolute_time: bool
    action: bool
    next_action: bool
    exposure_mask: bool  # an exposure asked for next adds nothing; else it has a vector of its own
    context_dropout: Dropout  # of absolute time and popularity, per token, in training
    dual_path: bool  # ReLU in the sequence only; else of targets and candidates too

    @model_validator(mode="after")
    def _tells_items_apart(self) -> Self:
        ids = self.item_id_dim or self.hash_sizes
        if not (ids or self.modalities or self.item_features or self.life_cycle):
            raise ValueError(
                "item_id_dim, hash_sizes, modalities, item_features and life_cycle are all off: "
                "nothing is left to tell items apart"
            )
        return self


class FeedForwardParams(Section):
    """What follows the attention in each layer.

    ``none``: the paper's dense HSTU. ``dense``: one SwiGLU. ``moe``: routed SwiGLU experts.
    """

    kind: Literal["none", "dense", "moe"]
    hidden_dim: Positive
    num_experts: Positive
    top_k: Positive
    num_shared_experts: NonNegative
    gate: Literal["softmax", "sigmoid"]
    balance_loss_weight: NonNegativeFloat  # sequence-wise
    bias_step: NonNegativeFloat  # loss-free balancing, largest step of a logit; 0 switches it off

    @model_validator(mode="after")
    def _top_k_fits(self) -> Self:
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k {self.top_k} is more than num_experts {self.num_experts}")
        return self


class NetworkParams(Section):
    """The HSTU + MoE encoder-decoder."""

    dim: Positive
    num_layers: Positive
    num_heads: Positive
    # Item events per row; the user token comes on top.
    max_length: Annotated[Integer, Field(ge=2, le=65_535)]
    dropout: Dropout
    input_dropout: Dropout
    position_bias: bool
    time_bias: bool
    normalize_attention: bool  # norm of the attention output before the gate, as published HSTU
    history_skip: NonNegative  # newest items whose vectors reach the output directly; 0 for none
    zero_init_residual: bool  # each encoder layer begins as the identity; the paper's do not
    feed_forward: FeedForwardParams
    num_decoder_layers: Positive  # cross-attention layers of each level after the first
    sid_dim: Positive  # width of the semantic ID embeddings
    features: FeatureParams

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of num_heads {self.num_heads}")
        return self
