"""The model that proposes semantic IDs and ranks items."""

from pathlib import Path

from assets.artifact_asset import artifact_asset
from assets.training_metadata import TRAINING_CHECKS, describe_training
from assets.training_worker import publish_training, require_recommendable, run_training
from assets.workspace import Workspace
from model.network.checkpoint import Checkpoint


@artifact_asset(
    group="models",
    kinds={"pytorch"},
    deps=[
        "interactions",
        "item_statistics",
        "modality_embeddings",
        "encoder_checkpoint",
        "codebook",
    ],
    pool="gpu",
    tags={"compute": "training"},
    describe=describe_training,
    checks=TRAINING_CHECKS,
    publish=publish_training,
)
def recommender_checkpoint(workspace: Workspace, folder: Path) -> Checkpoint:
    """The joint model: InfoNCE and the loss of every semantic ID level.

    It fails before training if the parameters give it no decoder, or if the filters leave fewer
    than ten candidates.
    """
    workspace.require_decoder()
    require_recommendable(workspace)
    run_training(workspace, "recommender_checkpoint", folder)
    return Checkpoint.load(folder)
