"""Points whose losses follow known laws, with a little noise; nothing is trained."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from model.params import ScalingStudyParams
from model.scaling.grid import Point
from model.scaling.point import PATHS, ScalingPoint, Size, Timing, Workload
from model.scaling.study import ScalingStudy, build_study

SHAPES = ((1, 8), (1, 16), (2, 24), (2, 32), (3, 48), (4, 64), (4, 96))
NOISE = 0.004
EPOCH_TOKENS = 540_000
# Irreducible loss, scale and exponent of size, scale and exponent of data; in billions.
TRUTH = {
    "infonce": (3.0, 0.05, 0.3, 0.01, 0.4),
    "sid1": (2.0, 0.02, 0.35, 0.01, 0.4),
    "sid2": (2.2, 0.03, 0.3, 0.01, 0.4),
}


def true_loss(name: str, parameters: float, tokens: float) -> float:
    floor, a, alpha, b, beta = TRUTH[name]
    return floor + a * (parameters / 1e9) ** -alpha + b * (tokens / 1e9) ** -beta


def parameters_of(point: Point) -> int:
    return 8 * point.layers * point.width**2 + 1700 * point.width


def measure(point: Point) -> tuple[int, float]:
    """What the planner asks for."""
    return parameters_of(point), 6.0 * parameters_of(point) + 6.0 * point.width * 900


def saturating_loss(name: str, parameters: float) -> float:
    """Soon at its floor."""
    return TRUTH[name][0] + 3e-6 / (parameters / 1e9)


def fake_point(point: Point, rng: np.random.Generator, form: str) -> ScalingPoint:
    tokens = EPOCH_TOKENS * point.percent // 100
    if point.percent < 100:
        tokens += 2_000 * point.seed  # other users have other histories
    parameters, flops = measure(point)
    losses = {}
    for name in TRUTH:
        levels = {
            "law": true_loss(name, parameters, tokens),
            "flat": 4.0,
            "saturating": saturating_loss(name, parameters),
        }
        losses[name] = levels[form] + NOISE * float(rng.standard_normal())
    return ScalingPoint(
        point=point,
        size=Size(parameters + 1_000_000, parameters, parameters),
        workload=Workload(rows=0.011, items=0.6, attended=45.0, negatives=900.0),
        flops_per_token=flops,
        tokens=tokens,
        steps=tokens // 1440,
        final_losses={k: {"mean": v, "std": 0.05, "steps": 75} for k, v in losses.items()},
        validation_losses={k: v + 0.1 for k, v in losses.items()},
        metrics={path: {"hr@10": 0.1, "ndcg@10": 0.05, "score": 0.06} for path in PATHS},
        timing=Timing(seconds=tokens * (flops + 1e6) / 2e10, processes=1, device="cpu"),
        history=[{"step": 1, "loss": 9.0}],
    )


def fake_points(
    shapes: Iterable[tuple[int, int]] = SHAPES,
    seeds: Iterable[int] = (0, 1),
    percents: Iterable[int] = (100,),
    *,
    form: str = "law",
) -> dict[str, ScalingPoint]:
    rng = np.random.default_rng(5)
    points = [
        Point("joint", layers, width, 1, percent, seed)
        for layers, width in shapes
        for percent in percents
        for seed in seeds
    ]
    return {point.name: fake_point(point, rng, form) for point in points}


def fake_study(points: dict[str, ScalingPoint], samples: int = 40) -> ScalingStudy:
    names = [one.point.name for one in points.values()]
    params = ScalingStudyParams(
        protocols=sorted({one.point.protocol for one in points.values()}),
        points=names,
        bootstrap_samples=samples,
        confidence=0.9,
    )
    return build_study("joint", points, params, seed=0)


def of_another_protocol(point: ScalingPoint) -> ScalingPoint:
    return replace(point, point=replace(point.point, protocol="sid_only"))
