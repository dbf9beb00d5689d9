"""What the training events say of each item."""

from typing import Any

from assets.artifact_asset import artifact_asset
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics, compute_item_statistics
from model.params import Params


def _describe(made: ItemStatistics) -> dict[str, Any]:
    seen = int((made.counts.sum(axis=1) > 0).sum())
    return {
        "items with a training event": seen,
        "items without": len(made.counts) - 1 - seen,
        "time buckets": len(made.bucket_boundaries) - 1,
        "dagster/row_count": len(made.counts) - 1,
    }


@artifact_asset(group="dataset", kinds={"duckdb"}, describe=_describe)
def item_statistics(params: Params, interactions: Interactions) -> ItemStatistics:
    """Log q, first and last exposure and popularity over time, from the training part alone."""
    return compute_item_statistics(interactions, params.item_statistics)
