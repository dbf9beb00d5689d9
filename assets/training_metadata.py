"""Metadata and checks of a finished training."""

import math
from typing import Any

import dagster as dg

from assets.checks import Check, Verdict
from assets.report_metadata import table
from assets.workspace import Workspace
from model.network.checkpoint import Checkpoint

_SHOWN_ROWS = 20


def describe_training(made: Checkpoint) -> dict[str, Any]:
    """The last rows of the history and the validation metrics."""
    history = made.metadata.get("history", [])
    return {
        "dagster/row_count": len(history),
        "parameters of the network": made.metadata.get("num_parameters", 0),
        "history": dg.MetadataValue.md(table(history[-_SHOWN_ROWS:])),
    }


def _loss_is_finite(made: Checkpoint, workspace: Workspace) -> Verdict:
    rows = made.metadata.get("history", [])
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    bad = [index for index, loss in enumerate(losses) if not math.isfinite(loss)]
    reason = f"The loss is not finite from row {bad[0]} on." if bad else "Every loss is finite."
    return Verdict(passed=not bad, reason=reason, metadata={"rows": len(losses)})


TRAINING_CHECKS = (
    Check(
        name="loss_is_finite",
        description="The loss was never NaN or infinite.",
        judge=_loss_is_finite,
    ),
)
