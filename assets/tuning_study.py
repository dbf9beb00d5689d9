"""Which values of the parameter file give the best validation NDCG@10; made only when asked for."""

from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from assets.tuning.report import TuningReport, table_rows
from assets.tuning.study import finish_study, read_study
from assets.workspace import Workspace

_SHOWN_TRIALS = 50


def _describe(made: TuningReport) -> dict[str, Any]:
    best = made.best
    ranked = sorted(made.trials, key=lambda trial: -(trial["value"] or 0.0))
    return {
        "dagster/row_count": len(made.trials),
        "best trial": best["number"],
        "best validation NDCG@10": best["value"],
        "winner": dg.MetadataValue.json(best["parameters"]),
        "trials": dg.MetadataValue.md(table(table_rows(ranked[:_SHOWN_TRIALS]))),
    }


@artifact_asset(
    group="studies",
    kinds={"optuna", "pytorch"},
    deps=[
        "interactions",
        "item_statistics",
        "modality_embeddings",
        "encoder_checkpoint",
        "fused_embeddings",
        "codebook",
    ],
    pool="gpu",
    tags={"compute": "training"},
    describe=_describe,
)
def tuning_study(workspace: Workspace) -> TuningReport:
    """An Optuna study: trials of one training with other parameters; made only when asked for.

    Trials that an earlier run or `onepiece tune` has finished are not repeated. `onepiece adopt`
    writes the best trial's values into a parameter file.
    """
    finish_study(workspace, workspace.params.tuning_study.num_processes)
    return read_study(workspace)
