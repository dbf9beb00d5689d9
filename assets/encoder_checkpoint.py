"""The encoder, trained before there are semantic IDs, which are made from its item vectors."""

from pathlib import Path

from assets.artifact_asset import artifact_asset
from assets.published_ids import require_codebook_possible
from assets.training_metadata import TRAINING_CHECKS, describe_training
from assets.training_worker import publish_training, require_recommendable, run_training
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.dataset.split import require_targets
from model.network.checkpoint import Checkpoint


@artifact_asset(
    group="models",
    kinds={"pytorch"},
    deps=["interactions", "item_statistics", "modality_embeddings", "coverage_report"],
    pool="gpu",
    tags={"compute": "training"},
    describe=describe_training,
    checks=TRAINING_CHECKS,
    publish=publish_training,
)
def encoder_checkpoint(workspace: Workspace, folder: Path) -> Checkpoint:
    """The two-tower part of the model, trained with InfoNCE alone.

    It fails before training if the data has no targets to evaluate on, if the filters leave fewer
    than ten candidates, or if no valid codebook can be made for these items.
    """
    interactions, params = Interactions.load(workspace.folder("interactions")), workspace.params
    require_targets(
        interactions, params.interactions.split, params.evaluation_report.action_weights
    )
    require_recommendable(workspace)
    require_codebook_possible(workspace, interactions)
    run_training(workspace, "encoder_checkpoint", folder)
    return Checkpoint.load(folder)
