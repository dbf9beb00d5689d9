"""`onepiece explain`: why one user gets these ten, as text."""

from collections.abc import Iterator

from assets.device import inference_device
from assets.promotion import JudgedModel
from assets.workspace import CHAMPION, Workspace
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.explain import Candidate, Explanation, explain_user
from model.inference.filters import Part
from model.inference.recommender import prepare_recommender
from orchestration.report import columns


def explain(workspace: Workspace, user: str, part: Part) -> str:
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
    found = explain_user(recommender, user, beam_weight=model.beam_weight, part=part)
    return "\n".join(_lines(found))


def _lines(found: Explanation) -> Iterator[str]:
    yield f"User {found.user}, {found.part}: {found.history_length} events in the history"
    if found.target is not None:
        yield f"Held-out item: {found.target}"
    yield "\nHistory, newest first"
    yield columns(
        ["time (UTC)", "action", "item", "semantic ID"],
        [[event.time, event.action, event.item, _sid(event.sid)] for event in found.history],
    )
    yield "\nFirst codes of the beams"
    yield "  " + "  ".join(f"{code}: {share:.3f}" for code, share in found.first_codes)
    yield "\nItems"
    yield columns(
        ["place", "item", "semantic ID", "cosine", "log p", "score", "verdict"],
        [_row(candidate) for candidate in found.candidates],
    )
    yield "\nCounts"
    yield columns(["", ""], [[name, f"{count:,}"] for name, count in found.counts.items()])
    yield "\nSettings"
    yield columns(["", ""], [[name, str(value)] for name, value in found.settings.items()])


def _row(candidate: Candidate) -> list[str]:
    log_prob = "-" if candidate.log_prob is None else f"{candidate.log_prob:.3f}"
    numbers = [f"{candidate.cosine:.4f}", log_prob, f"{candidate.score:.4f}"]
    place = str(candidate.place) if candidate.place else "-"
    return [place, candidate.item, _sid(candidate.sid), *numbers, candidate.verdict]


def _sid(codes: tuple[int, ...]) -> str:
    return "-".join(map(str, codes)) or "none"
