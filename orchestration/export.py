"""`onepiece export`: the champion, and the vectors that it gives, for other systems."""

from pathlib import Path

from assets.device import DEVICE, inference_device
from assets.lineage import damage
from assets.manifest import origin
from assets.workspace import CHAMPION, SUBMISSION, Workspace
from model.errors import InputError
from model.inference.export import export_model, require_export_folder
from model.inference.inputs import InferenceInputs
from model.inference.recommender import prepare_recommender


def export(workspace: Workspace, folder: Path) -> str:
    """Write the model and the vectors that a submission would be made from now.

    Args:
        workspace: holds the model and the data.
        folder: new, empty or an earlier export.

    Returns:
        One sentence on what was written.

    Raises:
        InputError: the folder holds something else, or something is not materialised or damaged.
    """
    folder = folder.resolve()  # what a link leads to is replaced, not the link
    require_export_folder(folder)
    workspace.input_folder(CHAMPION)  # refused before a lock's file is made
    with workspace.reading(SUBMISSION):
        model = workspace.input_folder(CHAMPION)  # another may have been promoted while we waited
        _require_intact(workspace, model)
        made_from = origin(workspace, workspace.recipe(SUBMISSION).parents)
        modalities = workspace.params.modality_embeddings.modalities
        inputs = InferenceInputs.load(workspace.data, model, modalities)
        with workspace.device(DEVICE):
            recommender = prepare_recommender(inputs, workspace.params.cascade, inference_device())
            counts = export_model(recommender, model, folder, origin=made_from)
    return (
        f"{folder}: champion {model.name}, vectors of {counts['items']:,} items and "
        f"{counts['users']:,} users ({counts['dim']} wide); README.md there describes the files"
    )


def _require_intact(workspace: Workspace, model: Path) -> None:
    """Refuse to hand on what is no longer as it was made."""
    stages = workspace.stages
    inputs = [
        workspace.folder(name, key)
        for name in stages[SUBMISSION].inputs
        if name != CHAMPION
        for key in workspace.partitions(stages[name])
    ]
    for folder in (model, *inputs):
        if damaged := damage(folder, workspace.hashes):
            raise InputError(
                f"{folder}: damaged: {damaged[0]}; `onepiece materialize` makes it again"
            )
