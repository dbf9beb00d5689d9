"""From dotted keys of the parameter file to Optuna's distributions, and back to parameters."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import optuna
from pydantic import ValidationError

from model.errors import InputError
from model.params import Choices, FloatRange, IntegerRange, Params, problems

CODEBOOK = "codebook."
Plain = bool | int | float | str | None


def changed(params: Params, changes: Mapping[str, Any]) -> Params:
    """The parameters with some dotted keys replaced.

    Raises:
        InputError: the values are not valid together; the message names the keys.
    """
    values = copy.deepcopy(params.model_dump(mode="json"))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        section = values
        for key in path:
            section = section[key]
        section[last] = copy.deepcopy(value)  # so that a list in the space is not shared
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError(problems(error, values)) from None


def require_valid_bounds(params: Params) -> None:
    """Check that the ends of every distribution are allowed values of its key.

    Raises:
        InputError: one is not; the message names the key and the value.
    """
    for dotted, range_ in params.tuning_study.space.items():
        ends = range_.choices if isinstance(range_, Choices) else [range_.low, range_.high]
        for value in ends:
            try:
                changed(params, {dotted: value})
            except InputError as error:
                if str(error).startswith(dotted):  # else they may be valid with other values
                    raise InputError(
                        f"tuning_study.space: {dotted} cannot be {value!r}: {error}"
                    ) from None


def suggest(trial: optuna.Trial, params: Params) -> dict[str, Any]:
    """Draw a value for every key of the space, by dotted key."""
    drawn = {}
    for dotted, range_ in params.tuning_study.space.items():
        match range_:
            case FloatRange():
                drawn[dotted] = trial.suggest_float(dotted, range_.low, range_.high, log=range_.log)
            case IntegerRange():
                drawn[dotted] = trial.suggest_int(dotted, range_.low, range_.high, log=range_.log)
            case Choices():
                drawn[dotted] = trial.suggest_categorical(dotted, [*map(_plain, range_.choices)])
    return as_parameters(drawn, params)


def as_parameters(drawn: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """Optuna's record of a trial's values, as values of the parameter file."""
    values = dict(drawn)
    for dotted, range_ in params.tuning_study.space.items():
        if isinstance(range_, Choices) and dotted in values:
            meanings = {_plain(choice): choice for choice in range_.choices}
            values[dotted] = meanings[values[dotted]]
    return values


def touches_codebook(changes: Mapping[str, Any]) -> bool:
    """Whether a trial needs semantic IDs of its own."""
    return any(dotted.startswith(CODEBOOK) for dotted in changes)


def _plain(choice: Any) -> Plain:
    """Encode a list or mapping as JSON: Optuna stores plain values only."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice
