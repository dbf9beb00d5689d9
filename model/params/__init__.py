"""The shape of ``params.yaml``: frozen, strict, without hidden defaults.

Every key must be present and every unknown key is refused, so that the file alone says what ran.
Sections are named after the asset that reads them, or after what they describe when several do.
"""

from model.params.automation import AutomationParams
from model.params.codebook import CodebookParams
from model.params.data import (
    CoverageReportParams,
    CoverageThresholds,
    InteractionsParams,
    ItemStatisticsParams,
    ModalityEmbeddingsParams,
    RawDataParams,
    SplitParams,
    SplitStrategy,
    SyntheticWorldParams,
)
from model.params.file import Params, problems
from model.params.inference import CascadeParams, EvaluationReportParams
from model.params.network import FeatureParams, FeedForwardParams, NetworkParams
from model.params.section import LARGEST, Section
from model.params.studies import (
    POINT_NAME,
    Choices,
    FloatRange,
    IntegerRange,
    PrunerParams,
    Range,
    ScalingStudyParams,
    TuningStudyParams,
)
from model.params.training import LossParams, OptimizerParams, TrainingParams

__all__ = [
    "LARGEST",
    "POINT_NAME",
    "AutomationParams",
    "CascadeParams",
    "Choices",
    "CodebookParams",
    "CoverageReportParams",
    "CoverageThresholds",
    "EvaluationReportParams",
    "FeatureParams",
    "FeedForwardParams",
    "FloatRange",
    "IntegerRange",
    "InteractionsParams",
    "ItemStatisticsParams",
    "LossParams",
    "ModalityEmbeddingsParams",
    "NetworkParams",
    "OptimizerParams",
    "Params",
    "PrunerParams",
    "Range",
    "RawDataParams",
    "ScalingStudyParams",
    "Section",
    "SplitParams",
    "SplitStrategy",
    "SyntheticWorldParams",
    "TrainingParams",
    "TuningStudyParams",
    "problems",
]
