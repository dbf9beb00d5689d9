"""Power laws of the losses of the scaling points, one partition per protocol."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from model.params import Params
from model.scaling.point import ScalingPoint
from model.scaling.study import ScalingStudy, build_study


def _describe(made: ScalingStudy) -> dict[str, Any]:
    laws = {f"{key}: R^2": fit.quality.r2 for key, fit in made.fits.items()}
    return {
        "dagster/row_count": len(made.table),
        "summary": dg.MetadataValue.md(made.summary()),
        "forecasts inside their interval": sum(one.inside for one in made.forecasts),
        **laws,
    }


@artifact_asset(group="studies", kinds={"scipy"}, describe=_describe)
def scaling_study(
    params: Params, partition: str, scaling_points: dict[str, ScalingPoint]
) -> ScalingStudy:
    """Power laws of every loss in size and data, their intervals, forecasts and figures."""
    return build_study(partition, scaling_points, params.scaling_study, params.seed)
