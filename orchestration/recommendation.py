"""`onepiece recommend`: ten items for a given history, without a log or a submission."""

from collections.abc import Sequence
from typing import Any

from assets.workspace import Workspace
from model.inference.breakdowns import ACTION_NAMES
from model.inference.cascade import BACK_FILL, BEAM, PATH_NAMES
from model.inference.explain import explain_user
from model.inference.explanation import Explanation
from model.inference.given_history import answering, with_given_history
from model.inference.inputs import InferenceInputs
from model.inference.loss_funnel import Fate
from orchestration.explanation import champions, open_recommender
from orchestration.text_table import columns


def recommend(
    workspace: Workspace, items: Sequence[str], *, action: str, user: str | None
) -> Explanation:
    """What the champion recommends after a history, under the current cascade parameters.

    Args:
        workspace: holds the model and the data.
        items: raw ids of what the history ends with, oldest first.
        action: what was done with them: exposure, click or conversion.
        user: raw id of the user whose own events come before them; None for no user.

    Raises:
        InputError: no such item or user, no event at all, or something is not materialised.
    """
    model, beam_weight = champions(workspace)
    modalities = workspace.params.modality_embeddings.modalities
    inputs = InferenceInputs.load(workspace.data, model, modalities)
    given = with_given_history(
        inputs.interactions,
        inputs.statistics,
        items,
        action=ACTION_NAMES.index(action),
        user=user,
    )
    recommender = open_recommender(workspace, inputs)  # of all users, as a submission's index is
    return explain_user(
        answering(recommender, given, inputs.checkpoint.network_params),
        inputs.codebook.codes,
        given.raw_user_ids[0].as_py(),
        beam_weight=beam_weight,
        part="submission",
    )


def as_table(found: Explanation) -> str:
    """The recommended items, for a terminal."""
    rows = [
        [
            row["raw_item_id"],
            "-".join(map(str, row["sid"])) if any(row["sid"]) else "none",
            f"{row['score']:.4f}",
            row["path"],
        ]
        for row in as_rows(found)
    ]
    events = "1 event" if found.history_length == 1 else f"{found.history_length:,} events"
    return f"After {events}:\n" + columns(["item", "semantic ID", "score", "path"], rows)


def as_rows(found: Explanation) -> list[dict[str, Any]]:
    """The recommended items, best first, under the names of a submission's table."""
    return [
        {
            "rank": one.place,
            "raw_item_id": one.item,
            "score": one.score,
            "path": PATH_NAMES[BACK_FILL if one.fate == Fate.HIT_BY_BACK_FILL else BEAM],
            "sid": list(one.sid),
        }
        for one in found.candidates
        if one.place
    ]
