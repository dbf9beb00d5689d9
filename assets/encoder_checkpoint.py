"""The model that knows no semantic IDs yet: its item vectors are what they are made from."""

from pathlib import Path

from assets.artifact_asset import artifact_asset
from assets.published_ids import require_codebook_possible
from assets.training_metadata import TRAINING_CHECKS, describe_training
from assets.training_worker import publish_training, run_training
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
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

    What the items' ids alone show to be impossible for the codebook is refused here, before hours
    of training.
    """
    require_codebook_possible(workspace, Interactions.load(workspace.folder("interactions")))
    run_training(workspace, "encoder_checkpoint", folder)
    return Checkpoint.load(folder)
