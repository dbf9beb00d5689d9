"""The whole parameter file: how it is read, and what its sections owe each other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, model_validator

from model.errors import InputError
from model.params.automation import AutomationParams
from model.params.codebook import CodebookParams
from model.params.data import (
    CoverageReportParams,
    InteractionsParams,
    ItemStatisticsParams,
    ModalityEmbeddingsParams,
    RawDataParams,
)
from model.params.inference import CascadeParams, EvaluationReportParams
from model.params.network import NetworkParams
from model.params.section import NonNegative, Section
from model.params.studies import ScalingStudyParams, TuningStudyParams
from model.params.training import OptimizerParams, TrainingParams

_INTEGER = "tag:yaml.org,2002:int"
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")


class _PlainLoader(yaml.SafeLoader):
    """YAML without what a plain loader makes of things silently.

    It refuses a key given twice, of which that keeps the last. Numbers are decimal: 007 and 12:30,
    octal and sexagesimal to YAML 1.1, stay the texts that an item's id is.
    """

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int | str:
        return super().construct_yaml_int(node) if _DECIMAL.fullmatch(node.value) else node.value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in known:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value} is given twice; keep one",
                    problem_mark=key.start_mark,
                )
            known.add(key.value)
        return super().construct_mapping(node, deep)


_PlainLoader.add_constructor(_INTEGER, _PlainLoader.construct_yaml_int)


# What YAML's own constructors let through: of a date that there is not, of thousands of digits or
# brackets, of a tag that does not fit its value.
_UNREADABLE = (yaml.YAMLError, ValueError, RecursionError, AttributeError, KeyError)


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
    def _targets_weigh_something(self) -> Self:
        """Known here, and not only after all trainings, of a split by action."""
        weights, strategy = self.evaluation_report.action_weights, self.interactions.split.strategy
        if strategy == "last_positive" and not any(weights[1:]):
            raise ValueError(
                f"evaluation_report.action_weights {list(weights)} gives no weight to a click or "
                f"a conversion, and interactions.split.strategy {strategy} holds out nothing "
                "else; give one of them a weight above 0"
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
            values: Any = yaml.load(text, _PlainLoader)
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not valid YAML: {reason}") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{path}: {problems(error, values)}") from None


# What pydantic calls an extra input and a required field.
_MESSAGES = {
    "extra_forbidden": "there is no such key; correct or remove it",
    "missing": "is missing, and every key is required; params.yaml shows it",
}


def problems(error: ValidationError, values: Any) -> str:
    """Every key that is wrong, and what is wrong with it; or which keys do not go together.

    Args:
        error: of the values.
        values: as they were given.
    """
    found: dict[str, list[str]] = {}
    for problem in error.errors():
        found.setdefault(_key(problem["loc"], values), []).append(_message(problem))
    return "; ".join(
        ": ".join(filter(None, (key, ", or ".join(reasons)))) for key, reasons in found.items()
    )


def _key(place: Sequence[int | str], values: Any) -> str:
    """The dotted key of a problem, without the names of alternatives that pydantic appends."""
    parts = []
    for part in place:
        if not isinstance(values, Mapping | list):
            break
        parts.append(str(part))
        values = values.get(part) if isinstance(values, Mapping) else values[int(part)]
    return ".".join(parts)


def _message(problem: Mapping[str, Any]) -> str:
    known = _MESSAGES.get(problem["type"])
    return known or str(problem["msg"]).removeprefix("Value error, ")
