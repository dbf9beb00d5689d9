"""`onepiece explain`: why one user gets these ten."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from assets.device import inference_device
from assets.lineage import Lineage
from assets.staleness import changes
from assets.workspace import CHAMPION, SUBMISSION, Workspace
from model.artifact import atomic_write, require_folder
from model.dataset.split import Part
from model.errors import InputError
from model.inference.champion import beam_weight_of
from model.inference.explain import Explanation, explain_user, find_user
from model.inference.explain_page import as_page
from model.inference.index_cache import SEARCH_INDEX, with_index
from model.inference.inputs import InferenceInputs
from model.inference.recommender import Recommender, prepare_recommender
from model.inference.report import EvaluationReport
from model.partial_folders import partial_of
from orchestration.follow_up import follow_up

logger = logging.getLogger("onepiece")
_LONGEST_NAME = 255  # bytes, of a file on the usual file systems


def explain(workspace: Workspace, user: str, part: Part) -> Explanation:
    """Explain one user's recommendation.

    Args:
        workspace: holds the models and the data.
        user: raw id.
        part: ``submission`` explains what the champion submits, ``test`` what the evaluation of
            the newest model saw; both under the present parameters, with a warning where the asset
            was made otherwise.

    Raises:
        InputError: no such user, or something is not materialised.
    """
    model, beam_weight = _asked(workspace, part)
    _warn_of_another(workspace, SUBMISSION if part == "submission" else "evaluation_report")
    modalities = workspace.params.modality_embeddings.modalities
    inputs = InferenceInputs.load(workspace.data, model, modalities)
    find_user(inputs.interactions, user, part)  # refused before the catalogue is built
    return explain_user(
        open_recommender(workspace, inputs),
        inputs.codebook.codes,
        user,
        beam_weight=beam_weight,
        part=part,
    )


def open_recommender(workspace: Workspace, inputs: InferenceInputs) -> Recommender:
    """A model with the workspace's cascade settings and stored search index, ready to recommend.

    Args:
        workspace: holds both.
        inputs: the model and the data.

    Raises:
        InputError: model and data do not match, or there is nothing to recommend.
    """
    recommender = prepare_recommender(inputs, workspace.params.cascade, inference_device())
    return with_index(recommender, workspace.data / SEARCH_INDEX)[0]


def champions(workspace: Workspace) -> tuple[Path, float]:
    """The folder of the model that submits, and its beam weight.

    Raises:
        InputError: there is none yet.
    """
    champion = workspace.input_folder(CHAMPION)
    return champion, beam_weight_of(champion, workspace.params.cascade)


def _warn_of_another(workspace: Workspace, asset: str) -> None:
    """Warn where the asset was made otherwise, so that it may differ from what is explained."""
    with suppress(InputError):  # nothing was made yet, or nothing could be made now
        folder = workspace.current_folder(asset)
        made, wanted = Lineage.read(folder).recipe, workspace.recipe(asset)
        if made != wanted:
            logger.warning(
                "%s: made otherwise (%s); this explains what would be made now by `%s`",
                folder,
                ", ".join(changes(made, wanted)),
                follow_up(workspace, "materialize"),
            )


def require_page(file: Path) -> None:
    """Refuse a place where no page can be written, before anything is computed.

    Raises:
        InputError: it is a folder, its name is too long, or its parent folder cannot be created or
            written to.
    """
    if len(os.fsencode(partial_of(file).name)) > _LONGEST_NAME:
        raise InputError(f"{file}: the name is too long; choose a shorter one")
    if file.is_dir():
        raise InputError(f"{file}: a folder; name a file for the page")
    require_folder(file.parent, writable=True)


def write_page(file: Path, explanation: Explanation) -> None:
    """Write the page of an explanation.

    Raises:
        InputError: the file system takes no file there.
    """
    try:
        atomic_write(file, as_page(explanation))
    except OSError as error:
        raise InputError(
            f"{file}: cannot be written ({error.strerror}); choose another place"
        ) from None


def _asked(workspace: Workspace, part: Part) -> tuple[Path, float]:
    """The folder of the model that answered, and its beam weight."""
    if part == "submission":
        return champions(workspace)
    report = EvaluationReport.load(workspace.folder("evaluation_report"))
    return workspace.data, report.beam_weight
