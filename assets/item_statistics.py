"""Statistics of each item over the training events."""

from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from assets.report_pictures import histogram
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics, compute_item_statistics
from model.dataset.recommendable import require_enough_candidates
from model.params import Params

_ACTIONS = ("exposure", "click", "conversion")


def _describe(made: ItemStatistics) -> dict[str, Any]:
    events = made.counts.sum(axis=1)[1:]
    seen = int((events > 0).sum())
    facts = [
        {"action": name, "training events": f"{int(made.counts[:, action].sum()):,}"}
        for action, name in enumerate(_ACTIONS)
    ]
    return {
        "events by action": dg.MetadataValue.md(table(facts)),
        "events per item": histogram(
            np.log10(events[events > 0]), "seen items by log10 of their training events"
        ),
        "items with a training event": seen,
        "items without": len(made.counts) - 1 - seen,
        "time buckets": len(made.bucket_boundaries) - 1,
        "dagster/row_count": len(made.counts) - 1,
    }


@artifact_asset(group="dataset", kinds={"duckdb"}, describe=_describe)
def item_statistics(
    params: Params, workspace: Workspace, interactions: Interactions
) -> ItemStatistics:
    """Log q, first and last exposure and popularity over time, from the training part alone.

    If the filters leave fewer than ten candidates, it fails here, before any training.
    """
    made = compute_item_statistics(interactions, params.item_statistics, scratch=workspace.data)
    require_enough_candidates(interactions, made.popularity, params.cascade)
    return made
