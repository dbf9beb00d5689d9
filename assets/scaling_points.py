"""The trainings of the scaling study, one partition per point."""

from pathlib import Path
from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from assets.training_worker import publish_training, require_recommendable, run_scaling_point
from assets.workspace import Workspace
from model.scaling.point import ScalingPoint


def _describe(made: ScalingPoint) -> dict[str, Any]:
    losses = [
        {"loss": name, **found, "validation": made.validation_losses.get(name)}
        for name, found in made.final_losses.items()
    ]
    return {
        "parameters of the network": made.size.parameters,
        "training FLOPs": made.flops,
        "tokens": made.tokens,
        "tokens per second": made.tokens_per_second,
        "losses": dg.MetadataValue.md(table(losses)),
        "metrics": dg.MetadataValue.md(
            table([{"path": path, **found} for path, found in made.metrics.items()])
        ),
    }


@artifact_asset(
    group="studies",
    kinds={"pytorch"},
    deps=["interactions", "item_statistics", "modality_embeddings", "codebook"],
    pool="gpu",
    tags={"compute": "training"},
    describe=_describe,
    publish=publish_training,
)
def scaling_points(workspace: Workspace, partition: str, folder: Path) -> ScalingPoint:
    """One model of the study: its size, cost, losses, metrics and throughput.

    It fails before training if the filters leave fewer than ten candidates.
    """
    require_recommendable(workspace)
    run_scaling_point(workspace, partition, folder)
    return ScalingPoint.load(folder)
