"""What the next model should be, what it would reach, and how long it would take.

Candidates have the ratio of width to depth of the study's best points. The law in size predicts the
loss after a whole epoch. Where the study has a law in size and data as well, a candidate may see
less, and that law predicts the loss from it. The plan is the cheapest candidate within the budget
that no other is expected to beat by more than repeated trainings of one model vary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.dataset.schema import FeatureSchema
from model.errors import InputError
from model.params import Params
from model.scaling.costs import CostModel, frontier
from model.scaling.grid import Point
from model.scaling.laws import BILLION
from model.scaling.rows import column, with_most_data
from model.scaling.size import measure_size, network_without_weights, training_flops_per_token
from model.scaling.study import DATA, SIZE, ScalingStudy

SECONDS_PER_HOUR = 3600
MAX_EXTRAPOLATION = 30.0  # size of the largest candidate over that of the largest point
MAX_LAYERS = 96
SIZE_AND_DATA = f"{SIZE},{DATA}"
FLATTENS = "larger models would gain less than repeated trainings of one model vary"

Measure = Callable[[Point], tuple[int, float]]  # parameters and training FLOPs per token


@dataclass(frozen=True)
class Budget:
    """What may be spent; exactly one of the two is given.

    Attributes:
        flops: of training.
        device_hours: hours times devices.
    """

    flops: float | None = None
    device_hours: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A model that could be trained."""

    layers: int
    width: int
    experts: int
    parameters: int
    flops_per_token: float


@dataclass(frozen=True)
class Expectation:
    """One loss of the planned model.

    Attributes:
        loss: its name.
        expected: by the law.
        low: lower end of the interval of a single training.
        high: upper end.
        best_so_far: the lowest of the study's points.
    """

    loss: str
    expected: float
    low: float
    high: float
    best_so_far: float


@dataclass(frozen=True)
class Plan:
    """A recommendation.

    Attributes:
        candidate: the model.
        tokens: that it should see.
        flops: of the training.
        device_hours: that it takes on the study's device.
        device: which one.
        expectations: per loss that follows a law.
        remarks: what the reader must know to judge it.
    """

    candidate: Candidate
    tokens: float
    flops: float
    device_hours: float
    device: str
    expectations: Sequence[Expectation]
    remarks: Sequence[str]


def make_plan(study: ScalingStudy, candidates: Sequence[Candidate], budget: Budget) -> Plan:
    """Choose the cheapest candidate within the budget that no other beats noticeably.

    Args:
        study: laws and costs.
        candidates: see :func:`candidate_models`.
        budget: what may be spent.

    Raises:
        InputError: no loss follows a law, or the budget is too small for any candidate.
    """
    costs = CostModel.of(study.table)
    losses = [loss for loss in study.losses if _holds(study, loss, SIZE)]
    if not losses:
        raise InputError(
            f"scaling_study: no loss of {study.protocol} follows a power law, so that nothing can "
            "be planned; add sizes or seeds to scaling_study.points"
        )
    epoch = float(max(row["tokens"] for row in study.table))
    tokens = np.array([_affordable(one, costs, budget, epoch) for one in candidates])
    partial = all(_holds(study, loss, SIZE_AND_DATA) for loss in losses)
    possible = tokens >= (min(row["tokens"] for row in study.table) if partial else epoch)
    if not possible.any():
        raise InputError(_too_small(candidates, costs, epoch))
    sizes = np.array([one.parameters for one in candidates], np.float64)
    expected = sum(_expected(study, loss, sizes, tokens, epoch) for loss in losses)
    expected = np.where(possible, expected, np.inf)
    flops = tokens * np.array([one.flops_per_token for one in candidates])
    good_enough = expected <= expected.min() + _spread(study, losses)
    best = int(np.where(good_enough, flops, np.inf).argmin())
    chosen, seen = candidates[best], float(tokens[best])
    hours = seen * costs.seconds_per_token(chosen.flops_per_token) / SECONDS_PER_HOUR
    return Plan(
        candidate=chosen,
        tokens=seen,
        flops=seen * chosen.flops_per_token,
        device_hours=hours,
        device=costs.device,
        expectations=[_expectation(study, loss, chosen, seen, epoch) for loss in losses],
        remarks=[
            *_remarks(study, candidates, chosen, seen, epoch),
            *([FLATTENS] if chosen.parameters < sizes[int(expected.argmin())] else []),
        ],
    )


def candidate_models(study: ScalingStudy, measure: Measure, head_width: int) -> list[Candidate]:
    """Models of the best ratio of width to depth, from one layer to far beyond the largest point.

    Args:
        study: gives the shape: width by depth of the points on the frontier.
        measure: gives the size and cost of a point's network.
        head_width: widths are multiples of it.
    """
    ratio = best_ratio(study)
    largest = max(study.table, key=lambda row: row["parameters"])
    found: list[Candidate] = []
    for layers in range(1, MAX_LAYERS + 1):
        nearest = max(1, round(ratio * layers / head_width))
        deep = []
        for heads in sorted({max(1, nearest - 1), nearest, nearest + 1}):
            point = Point(study.protocol, layers, heads * head_width, largest["experts"], 100, 0)
            deep.append(Candidate(layers, point.width, point.experts, *measure(point)))
        limit = MAX_EXTRAPOLATION * largest["parameters"]
        within = [one for one in deep if one.parameters <= limit]
        if not within:
            break
        found += within
    return found


def network_measure(study: ScalingStudy, params: Params, schema: FeatureSchema) -> Measure:
    """Measure networks by building them without weights.

    Args:
        study: gives the workload of a step.
        params: that the point changes.
        schema: of the data.
    """

    def measure(point: Point) -> tuple[int, float]:
        network = network_without_weights(schema, point.apply(params).network)
        infonce = point.trains_infonce
        flops = training_flops_per_token(network, study.workload, infonce=infonce)
        return measure_size(network).parameters, flops

    return measure


def best_ratio(study: ScalingStudy) -> float:
    """Width by depth of the points on the frontiers, by their geometric mean."""
    rows = with_most_data(study.table)
    best = [row for loss in study.losses for row in frontier(rows, loss)]
    return float(np.exp(np.log(column(best, "width") / column(best, "layers")).mean()))


def _holds(study: ScalingStudy, loss: str, key: str) -> bool:
    fit = study.fits.get(f"{loss} {key}")
    return fit is not None and fit.holds


def _affordable(one: Candidate, costs: CostModel, budget: Budget, epoch: float) -> float:
    """Tokens that the budget pays for, at most one epoch."""
    if budget.flops is not None:
        return min(epoch, budget.flops / one.flops_per_token)
    assert budget.device_hours is not None, "a budget has one of both"
    seconds = budget.device_hours * SECONDS_PER_HOUR
    return min(epoch, seconds / costs.seconds_per_token(one.flops_per_token))


def _expected(
    study: ScalingStudy, loss: str, sizes: np.ndarray, tokens: np.ndarray, epoch: float
) -> np.ndarray:
    """(n,) losses of n models that see so many tokens."""
    whole = study.fits[f"{loss} {SIZE}"].law(sizes[:, None] / BILLION)
    if (tokens >= epoch).all() or not _holds(study, loss, SIZE_AND_DATA):
        return whole
    law = study.fits[f"{loss} {SIZE_AND_DATA}"].law
    seen, all_of_it = (
        law(np.stack([sizes, part], axis=1) / BILLION) for part in (tokens, 0 * tokens + epoch)
    )
    return whole + seen - all_of_it


def _spread(study: ScalingStudy, losses: Sequence[str]) -> float:
    """Standard deviation of the sum of the losses between trainings of one model."""
    return float(np.sqrt(sum(study.fits[f"{loss} {SIZE}"].residuals.var() for loss in losses)))


def _expectation(
    study: ScalingStudy, loss: str, chosen: Candidate, tokens: float, epoch: float
) -> Expectation:
    sizes, seen = np.array([float(chosen.parameters)]), np.array([tokens])
    fit = study.fits[f"{loss} {SIZE}"]
    at = sizes[:, None] / BILLION
    low, high = fit.interval(at, of_a_run=True)
    expected = float(_expected(study, loss, sizes, seen, epoch)[0])
    lost = expected - float(fit.law(at)[0])  # by seeing less than an epoch
    best = float(column(study.table, loss).min())
    return Expectation(loss, expected, float(low[0]) + lost, float(high[0]) + lost, best)


def _too_small(candidates: Sequence[Candidate], costs: CostModel, epoch: float) -> str:
    cheapest = min(candidates, key=lambda one: one.flops_per_token)
    hours = epoch * costs.seconds_per_token(cheapest.flops_per_token) / SECONDS_PER_HOUR
    return (
        "the budget does not pay for the smallest model of the study's kind: one epoch of it needs "
        f"{epoch * cheapest.flops_per_token:.2e} FLOPs or {hours:.2g} hours on {costs.device}; "
        "raise the budget"
    )


def _remarks(
    study: ScalingStudy,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    seen: float,
    epoch: float,
) -> list[str]:
    largest = max(row["parameters"] for row in study.table)
    remarks = []
    if chosen.parameters > largest:
        times = chosen.parameters / largest
        remarks.append(f"{times:.1f} times the largest size that was measured: an extrapolation")
    if chosen.parameters == max(one.parameters for one in candidates):
        remarks.append("the largest candidate there is: the budget would pay for more")
    if seen < epoch:
        remarks.append(f"the budget pays for {seen / epoch:.0%} of one epoch")
    else:
        remarks.append("one epoch of the study's data, the most that is planned")
    missed = [one.loss for one in study.forecasts if not one.inside]
    if missed:
        remarks.append(
            "the study's own largest size was measured outside its forecast interval for "
            + ", ".join(missed)
        )
    lawless = [loss for loss in study.losses if not _holds(study, loss, SIZE)]
    if lawless:
        remarks.append(f"no power law in {', '.join(lawless)}, which is left out of the plan")
    return remarks
