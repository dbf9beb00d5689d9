"""Sections about the studies, which are off the main line."""

import itertools
import re
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from model.params.section import (
    LARGEST,
    Epochs,
    Integer,
    NonNegative,
    Number,
    Positive,
    Section,
)

# Protocol, layers, width, experts, percentage of training users, seed; no leading zeros.
POINT_NAME = (
    r"(joint|infonce_only|sid_only)_l([1-9]\d*)_d([1-9]\d*)_e(0|[1-9]\d*)"
    r"_f([1-9]\d?|100)_s(0|[1-9]\d*)"
)


class ScalingStudyParams(Section):
    """The scaling-law study: not part of the main pipeline, runs only on request."""

    protocols: list[Literal["joint", "infonce_only", "sid_only"]]  # one study of each
    points: list[str]  # one training each, such as joint_l4_d64_e8_f100_s0
    bootstrap_samples: Positive
    confidence: Annotated[Number, Field(gt=0.0, lt=1.0)]  # of all intervals

    @model_validator(mode="after")
    def _points_are_points(self) -> Self:
        for name in self.points:
            found = re.fullmatch(POINT_NAME, name)
            if found is None or max(map(int, found.groups()[1:])) > LARGEST:
                raise ValueError(
                    f"points names {name!r}; a point is called protocol_l<layers>_d<width>"
                    "_e<experts>_f<percent of users, 1 to 100>_s<seed>, without leading zeros "
                    f"and up to {LARGEST}"
                )
        if len(set(self.points)) < len(self.points):
            raise ValueError("points names a point twice")
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
    """The tuning study: not part of the main pipeline, runs only on request."""

    training: Literal["encoder_checkpoint", "recommender_checkpoint"]  # what a trial trains
    num_trials: Positive  # finished ones, of all processes together
    num_processes: Positive
    epochs: Epochs  # of a trial
    validate_every_epochs: Epochs  # each time the pruner decides
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

    @model_validator(mode="after")
    def _no_key_holds_another(self) -> Self:
        """One would be drawn, and then the other put into it."""
        for outer, inner in itertools.permutations(self.space, 2):
            if inner.startswith(f"{outer}."):
                raise ValueError(f"space names {outer} and {inner} within it; name one of them")
        return self
