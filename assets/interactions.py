"""Every event, in one memory-mapped store, whatever the input format."""

from typing import Any

import dagster as dg
import numpy as np

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.report_metadata import table
from assets.report_pictures import histogram
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.dataset.raw_data import RawData
from model.dataset.readers import read_interactions
from model.dataset.repeated_events import count_repeated_events
from model.params import Params


def _describe(made: Interactions) -> dict[str, Any]:
    lengths = np.diff(made.offsets)
    facts = {
        "users": made.num_users,
        "items": made.num_items,
        "events": made.num_events,
        "candidates": len(made.candidate_item_ids),
        "items outside the training vocabulary": made.num_items - made.num_known_items,
        "events that occur more than once": count_repeated_events(
            made.offsets, made.item_ids, made.action_types, made.timestamps
        ),
        "longest history": int(lengths.max(initial=0)),
        "users with a validation target": int((made.validation_event >= 0).sum()),
        "users with a test target": int((made.test_event >= 0).sum()),
    }
    rows = [{"fact": name, "value": f"{value:,}"} for name, value in facts.items()]
    return {
        "dagster/row_count": made.num_events,
        "facts": dg.MetadataValue.md(table(rows)),
        "history lengths": histogram(lengths, "users by the length of their history"),
    }


def _judge_targets(made: Interactions, workspace: Workspace) -> Verdict:
    counts = {
        "validation": int((made.validation_event >= 0).sum()),
        "test": int((made.test_event >= 0).sum()),
    }
    reason = f"Targets: {counts['validation']:,} for validation, {counts['test']:,} for testing."
    if not all(counts.values()):
        reason += " Nothing can be measured: check interactions.split and the histories' lengths."
    return Verdict(all(counts.values()), reason, counts)


@artifact_asset(
    group="dataset",
    kinds={"arrow", "numpy"},
    describe=_describe,
    checks=[
        Check(
            "targets_are_held_out",
            "Some users have a validation target and some a test target.",
            _judge_targets,
            blocking=False,
        )
    ],
)
def interactions(params: Params, workspace: Workspace, raw_data: RawData) -> Interactions:
    """Events per user in order of time, item and user features, vocabularies and the split."""
    return read_interactions(raw_data, params.interactions, params.seed, spool=workspace.data)
