"""`onepiece explain`: why one user gets these ten."""

from assets.device import inference_device
from assets.promotion import JudgedModel
from assets.workspace import CHAMPION, Workspace
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.explain import Explanation, explain_user
from model.inference.filters import Part
from model.inference.recommender import prepare_recommender
from model.inference.search_index import SEARCH_INDEX, with_index


def explain(workspace: Workspace, user: str, part: Part) -> Explanation:
    """Take one user's recommendation by the champion apart.

    Args:
        workspace: holds the champion and the data.
        user: raw id.
        part: ``submission`` explains the submission, ``test`` what the evaluation saw.

    Raises:
        InputError: no such user, or something is not materialised.
    """
    model = JudgedModel.load(workspace.input_folder(CHAMPION))
    modalities = workspace.params.modality_embeddings.modalities
    recommender = prepare_recommender(
        model.checkpoint,
        model.codebook,
        Interactions.load(workspace.folder("interactions")),
        ItemStatistics.load(workspace.folder("item_statistics")),
        {
            name: ModalityEmbedding.load(workspace.folder("modality_embeddings", name))
            for name in modalities
        },
        workspace.params.cascade,
        inference_device(),
    )
    recommender, _ = with_index(recommender, workspace.data / SEARCH_INDEX)
    return explain_user(recommender, user, beam_weight=model.beam_weight, part=part)
