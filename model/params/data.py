"""Sections about the data, from raw files to the coverage report's gate."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from model.params.section import (
    LARGEST,
    Integer,
    MemoryGib,
    ModalityName,
    ModalityNames,
    Number,
    Positive,
    Section,
    Share,
)

MAX_CLUSTERS = 2**20


class SyntheticWorldParams(Section):
    """The synthetic data set, generated in TencentGR's parquet layout."""

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
    """Location and format of the raw files; for ``synthetic`` the pipeline writes them first."""

    format: Literal["synthetic", "tencent_parquet", "tencent_jsonl", "recbole"]
    # A folder, relative to the working directory; its content is not used for ``synthetic``.
    source: Annotated[str, Field(min_length=1)]
    synthetic_world: SyntheticWorldParams


SplitStrategy = Literal["leave_one_out", "last_positive"]


class SplitParams(Section):
    """What is held out of each user's history.

    ``leave_one_out``: the last event is the test target, the one before it validates.
    ``last_positive``: the last click or conversion is the test target and what follows it is
    dropped; the click or conversion before it validates.
    ``validation_fraction``: the share of users (drawn by the seed and their ids) that give a
    validation target; the others' events train up to the test target.
    """

    strategy: SplitStrategy
    validation_fraction: Annotated[Number, Field(gt=0.0, le=1.0)]


class InteractionsParams(Section):
    """How each user's history is split into training, validation and test."""

    split: SplitParams


class ItemStatisticsParams(Section):
    """Counts over the training events."""

    num_time_buckets: Annotated[Integer, Field(ge=1, le=65_535)]  # equal-frequency
    memory_limit_gib: MemoryGib  # DuckDB's


def _at_least_one(names: list[str]) -> list[str]:
    if not names:
        raise ValueError(
            "names none, and what an item is comes from its vectors; name those of the raw files, "
            "or text, which is made from the words of RecBole's .item file"
        )
    return names


class ModalityEmbeddingsParams(Section):
    """Modalities to read; ``text`` is built from the items' own text and category tokens."""

    modalities: Annotated[ModalityNames, AfterValidator(_at_least_one)]
    text_width: Positive
    text_ngram_max: Annotated[Integer, Field(ge=1, le=5)]  # words that stand together count as one


class CoverageThresholds(Section):
    """The gate of one modality."""

    min_rate: Share  # covered items / all items; below it the run stops
    min_candidate_rate: Share  # covered candidates / candidates; below it the run stops
    min_traffic_rate: Share  # training events of covered items / all; below it the run stops
    max_invalid_rate: Share  # NaN, infinite, wrong-width / items with a row; above it the run stops
    max_zero_rate: Share  # all-zero / items with a row; above it a warning
    max_duplicate_rate: Share  # items that share their vector / covered items; above it a warning


class CoverageReportParams(Section):
    """Thresholds of the coverage gate by modality; ``default`` covers those that are not named."""

    memory_limit_gib: MemoryGib  # DuckDB's
    thresholds: dict[str, CoverageThresholds]

    @model_validator(mode="after")
    def _has_default(self) -> Self:
        if "default" not in self.thresholds:
            raise ValueError("thresholds must hold an entry named default")
        return self
