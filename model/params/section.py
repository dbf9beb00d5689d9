"""What every part of a parameter file is made of: the strict section and the kinds of values."""

from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

LARGEST = 2**31 - 1  # what every library that is handed a number can hold


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise ValueError("true and false are not numbers")
    return value


NO_TRUTH_VALUE = BeforeValidator(_no_truth_value)
Integer = Annotated[int, Field(strict=True)]
Positive = Annotated[Integer, Field(ge=1, le=LARGEST)]
NonNegative = Annotated[Integer, Field(ge=0, le=LARGEST)]
Number = Annotated[float, NO_TRUTH_VALUE]  # a text such as 1e-5 is one to us, not to YAML
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[Number, Field(gt=0.0)]
# Far above any training; a larger one, times the steps of an epoch, would be no number of steps.
Epochs = Annotated[Number, Field(gt=0.0, le=1e6)]
NonNegativeFloat = Annotated[Number, Field(ge=0.0)]
# Beside one of 1: a larger one leaves nothing of the others in a float32 sum.
Weight = Annotated[Number, Field(ge=0.0, le=1e6)]
Dropout = Annotated[Number, Field(ge=0.0, lt=1.0)]
# Of DuckDB, which works with little; the most is far above any machine's.
MemoryGib = Annotated[Number, Field(ge=0.125, le=65_536.0)]
_TAKEN = {
    "collaborative": "names the encoder's vectors in the codebook's report",
    "combinations": "names a picture of the coverage report",
    "default": "stands for all modalities in coverage_report.thresholds",
}


def _not_taken(name: str) -> str:
    if name in _TAKEN:
        raise ValueError(f"{name} {_TAKEN[name]}; give the modality another name")
    return name


# It names a folder and a partition.
ModalityName = Annotated[str, Field(pattern=r"^\w[\w.\-]*$"), AfterValidator(_not_taken)]


def _distinct(names: list[str]) -> list[str]:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed more than once")
    return names


ModalityNames = Annotated[list[ModalityName], AfterValidator(_distinct)]


class Section(BaseModel):
    """A part of the file: unknown and missing keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
