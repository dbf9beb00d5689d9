"""The model that knows no semantic IDs yet: its item vectors are what they are made from."""

from pathlib import Path

from assets.artifact_asset import artifact_asset
from assets.training_metadata import TRAINING_CHECKS, describe_training
from assets.training_worker import run_training
from assets.workspace import Workspace
from model.dataset.interactions import Interactions
from model.network.checkpoint import Checkpoint
from model.tokenizer.build import require_semantic_ids


@artifact_asset(
    group="models",
    kinds={"pytorch"},
    deps=["interactions", "item_statistics", "modality_embeddings", "coverage_report"],
    pool="gpu",
    tags={"compute": "training"},
    describe=describe_training,
    checks=TRAINING_CHECKS,
)
def encoder_checkpoint(workspace: Workspace, folder: Path) -> Checkpoint:
    """The two-tower part of the model, trained with InfoNCE alone.

    More items than the codebook could give semantic IDs are refused here, before hours of training.
    """
    interactions = Interactions.load(workspace.folder("interactions"))
    require_semantic_ids(interactions, workspace.params.codebook)
    run_training(workspace, "encoder_checkpoint", folder)
    return Checkpoint.load(folder)
