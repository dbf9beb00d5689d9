"""The shape of ``params.yaml``: frozen, strict, without hidden defaults.

Every key must be present and every unknown key is refused, so that the file alone says what ran.
Sections are named after the asset that reads them, or after what they describe when several do.
"""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from model.errors import InputError

SCORED_CUTOFF = 10  # of evaluation_report.cutoffs
LARGEST = 2**31 - 1  # what every library that is handed a number can hold


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise ValueError("true and false are no numbers")
    return value


NO_TRUTH_VALUE = BeforeValidator(_no_truth_value)
Integer = Annotated[int, Field(strict=True)]
Positive = Annotated[Integer, Field(ge=1, le=LARGEST)]
NonNegative = Annotated[Integer, Field(ge=0, le=LARGEST)]
Number = Annotated[float, NO_TRUTH_VALUE]  # a text such as 1e-5 is one to us, not to YAML
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[Number, Field(gt=0.0)]
NonNegativeFloat = Annotated[Number, Field(ge=0.0)]
Dropout = Annotated[Number, Field(ge=0.0, lt=1.0)]
# Of DuckDB, which works with little; the most is far above any machine's.
MemoryGib = Annotated[Number, Field(ge=0.125, le=65_536.0)]
# It names a folder and a partition.
ModalityName = Annotated[str, Field(pattern=r"^\w[\w.\-]*$")]


def _distinct(names: list[str]) -> list[str]:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} stands there more than once")
    return names


ModalityNames = Annotated[list[ModalityName], AfterValidator(_distinct)]


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which a plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in known:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value} stands there twice; keep one",
                    problem_mark=key.start_mark,
                )
            known.add(key.value)
        return super().construct_mapping(node, deep)


# What YAML's own constructors let through: of a date that there is not, of thousands of digits or
# brackets, of a tag that does not fit its value.
_UNREADABLE = (yaml.YAMLError, ValueError, RecursionError, AttributeError, KeyError)


class Section(BaseModel):
    """A part of the file: unknown and missing keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


MAX_CLUSTERS = 2**20


class SyntheticWorldParams(Section):
    """The world that the synthesiser writes, in TencentGR's parquet layout."""

    num_users: Positive
    num_items: Annotated[Integer, Field(ge=100, le=LARGEST)]  # in the training vocabulary
    num_candidates: Positive
    cold_candidate_share: Annotated[Number, Field(ge=0.0, lt=1.0)]
    num_clusters: Annotated[Integer, Field(ge=2, le=MAX_CLUSTERS)]  # latent clusters of items
    modality_widths: dict[ModalityName, Positive]
    modality_coverage: dict[ModalityName, Share]
    users_per_shard: Positive

    @model_validator(mode="after")
    def _same_modalities(self) -> Self:
        if self.modality_widths.keys() != self.modality_coverage.keys():
            raise ValueError("modality_widths and modality_coverage must name the same modalities")
        return self

    def resized(self, num_users: int | None, num_items: int | None) -> Self:
        """The same world in another size: as many items per candidate and per cluster.

        Args:
            num_users: None leaves them.
            num_items: None leaves them, the candidates and the clusters.
        """
        changes: dict[str, int] = {} if num_users is None else {"num_users": num_users}
        if num_items is not None:
            scale = num_items / self.num_items
            changes["num_items"] = num_items
            changes["num_candidates"] = min(max(1, round(self.num_candidates * scale)), LARGEST)
            changes["num_clusters"] = min(max(2, round(self.num_clusters * scale)), MAX_CLUSTERS)
        return self.model_validate({**self.model_dump(), **changes})


class RawDataParams(Section):
    """Where the raw files lie and what they are; ``synthetic`` writes them first."""

    format: Literal["synthetic", "tencent_parquet", "tencent_jsonl", "recbole"]
    # A folder, relative to the working directory; its content is not used for ``synthetic``.
    source: Annotated[str, Field(min_length=1)]
    synthetic_world: SyntheticWorldParams


class SplitParams(Section):
    """What is held out of each user's history.

    ``leave_one_out``: the last event is the test target, the one before it validates.
    ``last_positive``: the last click or conversion is the test target and what follows it is
    dropped; the click or conversion before it validates.
    ``validation_fraction``: the share of users (seeded) that give a validation target; the others'
    events train up to the test target.
    """

    strategy: Literal["leave_one_out", "last_positive"]
    validation_fraction: Annotated[Number, Field(gt=0.0, le=1.0)]


class InteractionsParams(Section):
    """Readers and split."""

    split: SplitParams


class ItemStatisticsParams(Section):
    """Counts over the training part."""

    num_time_buckets: Annotated[Integer, Field(ge=1, le=65_535)]  # equal-frequency
    memory_limit_gib: MemoryGib  # DuckDB's


class ModalityEmbeddingsParams(Section):
    """Which modalities are read; ``text`` is made from the items' own text and category tokens."""

    modalities: Annotated[ModalityNames, Field(min_length=1)]
    text_width: Positive


class CoverageThresholds(Section):
    """The gate of one modality."""

    min_rate: Share  # covered items / all items; below it the run stops
    min_candidate_rate: Share  # covered candidates / candidates; below it the run stops
    min_traffic_rate: Share  # training events of covered items / all; below it the run stops
    max_invalid_rate: Share  # NaN, infinite or wrong-width rows / rows; above it the run stops
    max_zero_rate: Share  # all-zero rows / rows; above it a warning
    max_duplicate_rate: Share  # items that share their vector / covered items; above it a warning


class CoverageReportParams(Section):
    """What the gate demands, per modality; ``default`` for one that is not named."""

    memory_limit_gib: MemoryGib  # DuckDB's
    thresholds: dict[str, CoverageThresholds]

    @model_validator(mode="after")
    def _has_default(self) -> Self:
        if "default" not in self.thresholds:
            raise ValueError("thresholds must hold an entry named default")
        return self


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
    context_dropout: Dropout  # of absolute time and popularity, per token, in training

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


class OptimizerParams(Section):
    """Muon for hidden matrices, AdamW for the rest, row-sparse AdamW for embedding tables."""

    muon_lr: PositiveFloat
    muon_momentum: Annotated[Number, Field(ge=0.0, lt=1.0)]
    routed_experts: Literal["muon", "adamw"]  # whose their matrices are
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
    label_smoothing: Dropout  # of InfoNCE, over its negatives

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        if not any([self.infonce_weight, *self.sid_weights]):
            raise ValueError("infonce_weight and sid_weights are 0: nothing would be trained")
        if not any(self.action_weights):
            raise ValueError("action_weights are all 0: no event would be a target")
        return self


class TrainingParams(Section):
    """One training run: ``encoder_checkpoint`` or ``recommender_checkpoint``."""

    epochs: PositiveFloat  # a fraction is a part of an epoch
    batch_size: Positive  # sequences per step over all ranks
    accumulation_steps: Positive
    loss: LossParams
    patience: NonNegative  # validations without a better NDCG@10 before stopping; 0 never stops
    validate_every_epochs: PositiveFloat
    max_validation_users: Positive
    checkpoint_minutes: PositiveFloat
    precision: Literal["fp32", "bf16"]
    shard_tables: bool  # rows of large tables divided among processes; whole copies otherwise
    initialize_from_encoder: bool  # start from encoder_checkpoint's weights
    inherited_rate: Share  # of the learning rates: for weights that came from the encoder


class CodebookParams(Section):
    """Semantic IDs."""

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


class CascadeParams(Section):
    """Inference: beams propose, the embedding re-scores, filters clean up."""

    beam_width: Positive
    num_sids: Positive  # K', semantic IDs kept after the last level
    # Action types whose items are removed.
    filter_history: list[Annotated[Integer, Field(ge=0, le=2)]]
    filter_cold: bool  # items without a training event
    logq_weight: NonNegativeFloat  # subtracted log q when re-scoring; 0 is off
    # Blend of the beam's log-probability.
    beam_weight: Annotated[Annotated[float, Field(ge=0.0)] | Literal["validation"], NO_TRUTH_VALUE]
    max_per_group: NonNegative  # items of one ``group_feature`` value; 0 is no cap
    group_feature: str  # an item feature, read when max_per_group is not 0
    default_action: Literal["click", "conversion"]  # asked for where the input names none
    batch_size: Positive
    search: Literal["exact", "ivf", "hnsw"]  # of the items that fill up a short list
    blocked_items: tuple[int | str, ...]  # raw ids of items that nobody is recommended


class EvaluationReportParams(Section):
    """The full-catalogue evaluation."""

    cutoffs: list[Positive]
    bootstrap_samples: Positive
    max_users: Positive  # a seeded sample when there are more
    action_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]

    @field_validator("cutoffs")
    @classmethod
    def _scores_are_measured(cls, cutoffs: list[int]) -> list[int]:
        if SCORED_CUTOFF not in cutoffs:
            raise ValueError(
                f"{SCORED_CUTOFF} must be among them: the score and the checks are defined there"
            )
        return cutoffs


# Protocol, layers, width, experts, percentage of training users, seed; no leading zeros.
POINT_NAME = (
    r"(joint|infonce_only|sid_only)_l([1-9]\d*)_d([1-9]\d*)_e(0|[1-9]\d*)"
    r"_f([1-9]\d?|100)_s(0|[1-9]\d*)"
)


class ScalingStudyParams(Section):
    """The scaling-law study: off the main line, made only when it is asked for."""

    protocols: list[Literal["joint", "infonce_only", "sid_only"]]  # one study of each
    points: list[str]  # one training each, such as joint_l4_d64_e8_f100_s0
    bootstrap_samples: Positive
    confidence: Annotated[Number, Field(gt=0.0, lt=1.0)]  # of all intervals

    @model_validator(mode="after")
    def _points_are_points(self) -> Self:
        for name in self.points:
            if re.fullmatch(POINT_NAME, name) is None:
                raise ValueError(
                    f"points names {name!r}; a point is called protocol_l<layers>_d<width>"
                    "_e<experts>_f<percent of users, 1 to 100>_s<seed>, without leading zeros"
                )
        if len(set(self.points)) < len(self.points):
            raise ValueError("points names one point twice")
        if {name.split("_l")[0] for name in self.points} != set(self.protocols):
            raise ValueError("protocols must name the protocols of points, and no others")
        return self


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; evenly spread logarithms where ``log``."""

    low: Number
    high: Number
    log: bool

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError("low must not be above high, and must be above 0 where log is true")
        return self


class FloatRange(Range):
    """Any number of a range."""

    kind: Literal["float"]


class IntegerRange(Range):
    """Any whole number of a range."""

    kind: Literal["int"]
    low: Integer
    high: Integer


class Choices(Section):
    """One of some values; a value may be a list."""

    kind: Literal["categorical"]
    choices: Annotated[list[JsonValue], Field(min_length=1)]


class PrunerParams(Section):
    """When a trial is ended early.

    ``percentile``: when its best validation so far is below that percentile of the earlier trials'
    at the same validation (50 is the median rule). ``none``: never.
    """

    kind: Literal["percentile", "none"]
    percentile: Annotated[Number, Field(ge=0.0, le=100.0)]
    startup_trials: NonNegative  # that come to their end before any is ended early
    warmup_validations: NonNegative  # of each trial, before which it is not ended


class TuningStudyParams(Section):
    """The tuning study: off the main line, made only when it is asked for."""

    training: Literal["encoder_checkpoint", "recommender_checkpoint"]  # what a trial trains
    num_trials: Positive  # finished ones, of all processes together
    num_processes: Positive
    epochs: PositiveFloat  # of a trial
    validate_every_epochs: PositiveFloat  # each time the pruner decides
    startup_trials: NonNegative  # drawn at random before TPE begins
    seed: NonNegative  # of the draws; a trial trains with the file's
    pruner: PrunerParams
    space: Annotated[
        dict[str, Annotated[FloatRange | IntegerRange | Choices, Field(discriminator="kind")]],
        Field(min_length=1),
    ]  # by dotted key of this file

    @model_validator(mode="after")
    def _space_is_read(self) -> Self:
        """Keys that decide nothing of a trial would be tuned in vain."""
        read = ("network.", "optimizer.", f"{self.training}.")
        read += ("codebook.",) if self.training == "recommender_checkpoint" else ()
        own = {f"{self.training}.{key}" for key in ("epochs", "validate_every_epochs")}
        for dotted in self.space:
            if not dotted.startswith(read) or dotted in own:
                raise ValueError(
                    f"space names {dotted}; a trial of {self.training} can change keys of "
                    f"{', '.join(name.rstrip('.') for name in read)}, and the study itself sets "
                    "epochs and validate_every_epochs"
                )
        return self


class AutomationParams(Section):
    """When the pipeline runs by itself; decides nothing about what it makes."""

    retrain_cron: str  # minute, hour, day, month and weekday
    timezone: str  # of retrain_cron, as in the IANA database
    settled_seconds: NonNegativeFloat  # raw files must have been still that long to be delivered

    @field_validator("retrain_cron")
    @classmethod
    def _has_five_fields(cls, cron: str) -> str:
        """What may stand in them Dagster knows, and says when it reads them."""
        if len(cron.split()) != 5:
            raise ValueError("minute, hour, day, month and weekday are needed, as in 0 3 * * 1")
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"no such time zone: {name}") from None
        return name


class Params(Section):
    """The whole file."""

    seed: NonNegative
    raw_data: RawDataParams
    interactions: InteractionsParams
    item_statistics: ItemStatisticsParams
    modality_embeddings: ModalityEmbeddingsParams
    coverage_report: CoverageReportParams
    network: NetworkParams
    optimizer: OptimizerParams
    encoder_checkpoint: TrainingParams
    codebook: CodebookParams
    recommender_checkpoint: TrainingParams
    cascade: CascadeParams
    evaluation_report: EvaluationReportParams
    scaling_study: ScalingStudyParams
    tuning_study: TuningStudyParams
    automation: AutomationParams

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        unknown = set(self.network.features.modalities) - set(self.modality_embeddings.modalities)
        if unknown:
            raise ValueError(
                f"network.features.modalities names {sorted(unknown)}, which "
                "modality_embeddings.modalities does not"
            )
        gated = set(self.coverage_report.thresholds) - {"default"}
        unknown = gated - set(self.modality_embeddings.modalities)
        if unknown:
            raise ValueError(
                f"coverage_report.thresholds names {sorted(unknown)}, which "
                "modality_embeddings.modalities does not"
            )
        encoder = self.encoder_checkpoint
        if encoder.loss.sid_weights or encoder.initialize_from_encoder:
            raise ValueError(
                "encoder_checkpoint.loss.sid_weights must be [] and initialize_from_encoder false: "
                "the encoder comes first, and the codebook is made of what it gives"
            )
        levels, weights = len(self.codebook.sizes), self.recommender_checkpoint.loss.sid_weights
        if weights and len(weights) != levels:
            raise ValueError(
                f"recommender_checkpoint.loss.sid_weights has {len(weights)} entries for "
                f"{levels} codebook levels"
            )
        return self

    @model_validator(mode="after")
    def _tuned_keys_exist(self) -> Self:
        for dotted in self.tuning_study.space:
            fields: Any = type(self)
            for key in dotted.split("."):
                known = getattr(fields, "model_fields", {})
                if key not in known:
                    raise ValueError(f"tuning_study.space names {dotted}: there is no such key")
                fields = known[key].annotation
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a parameter file.

        Raises:
            InputError: missing, not YAML, or a key that is unknown, missing or out of range; the
                message names the file and every such key.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"{path}: no such parameter file; see params/ for examples") from None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; --params must name a file") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not text in UTF-8 ({error}); convert it") from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """Read a parameter file's text.

        Raises:
            InputError: as :meth:`load`; ``path`` is what the message names.
        """
        try:
            values: Any = yaml.load(text, _UniqueKeyLoader)
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not valid YAML: {reason}") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{path}: {problems(error)}") from None


def problems(error: ValidationError) -> str:
    """Every key that is wrong, and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
        for problem in error.errors()
    )
