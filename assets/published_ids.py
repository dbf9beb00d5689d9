"""Semantic IDs that an earlier run published stay valid: a codebook that breaks them is refused.

The codebook in the data folder never influences what is made, only whether it may be made.
"""

import logging
from dataclasses import replace

from assets.lineage import damage
from assets.workspace import CODEBOOK, Workspace
from model.dataset.interactions import Interactions
from model.errors import InputError
from model.tokenizer.codebook import Codebook
from model.tokenizer.given_out import Change, change_of_ids, foreseen_change
from model.tokenizer.published import find_damage, open_published
from model.tokenizer.room import require_semantic_ids

logger = logging.getLogger("onepiece")


def require_codebook_possible(workspace: Workspace, interactions: Interactions) -> None:
    """Refuse, before an encoder is trained, a codebook that the items' ids alone rule out.

    What depends on the vectors, which differ with another encoder, is only warned of.

    Raises:
        InputError: too few semantic IDs; a published codebook that does not fit, or that the
            codebook in the data folder supersedes or contradicts.
    """
    params, width = workspace.params.codebook, workspace.params.network.dim
    if params.frozen_from is None:
        require_semantic_ids(interactions, None, params, width)
        return
    workspace.frozen_codebook_hash()  # refuses what it cannot read before hours of training
    frozen = open_published(params.frozen_from)
    require_semantic_ids(interactions, frozen, params, width)
    standing = _standing(workspace, frozen.generation)
    if standing is None:
        return
    change = foreseen_change(standing, frozen, interactions.raw_item_ids)
    moved = change_of_ids(standing, frozen).moved
    if moved:  # one generation re-assigned in two ways, whichever revision is the newer
        raise _overtaken(workspace, standing, frozen.revision, replace(change, moved=moved))
    if not change.keeps_all or (change.added and frozen.revision < standing.revision):
        raise _overtaken(workspace, standing, frozen.revision, change)
    new = len(standing.published) - len(frozen.published)
    if new > 0:
        # Only a warning: a lost encoder that is made again unchanged gives them the same IDs.
        logger.warning(
            "codebook.frozen_from: %s (revision %d) lacks %d items of %s; another encoder may give "
            "them other IDs, which is refused only after its training; %s",
            params.frozen_from,
            frozen.revision,
            new,
            workspace.folder(CODEBOOK),
            _keep(workspace, standing),
        )


def require_ids_hold(made: Codebook, workspace: Workspace) -> None:
    """Refuse to replace an extension of the same generation by one that contradicts it.

    Raises:
        InputError: published IDs would change or be lost, or one revision would denote two sets of
            IDs.
    """
    standing = _standing(workspace, made.generation)
    if standing is None:
        return
    change = change_of_ids(standing, made)
    if not change.keeps_all or (change.added and made.revision <= standing.revision):
        raise _overtaken(workspace, standing, made.revision - 1, change)


def _standing(workspace: Workspace, generation: str) -> Codebook | None:
    """The intact codebook of a generation that an earlier run left; None if there is none."""
    folder = workspace.folder(CODEBOOK)
    if not folder.exists() or workspace.refusal(CODEBOOK) or damage(folder, workspace.hashes):
        return None
    standing = Codebook.load(folder)
    is_other = standing.generation != generation or find_damage(standing) is not None
    return None if is_other else standing


def _overtaken(
    workspace: Workspace, standing: Codebook, extended: int, change: Change
) -> InputError:
    folder, frozen_from = workspace.folder(CODEBOOK), workspace.params.codebook.frozen_from
    return InputError(
        f"codebook.frozen_from: {folder} is revision {standing.revision} of generation "
        f"{standing.generation}, and extending {frozen_from} (revision {extended}) again would "
        f"{change}; {_keep(workspace, standing)}, or remove {folder} to start from {frozen_from} "
        "again"
    )


def _keep(workspace: Workspace, standing: Codebook) -> str:
    """How to continue from the existing extension."""
    folder, copy = workspace.folder(CODEBOOK), f"codebook_revision_{standing.revision}"
    return f"keep it by `cp -r {folder} {copy}` and name that copy in codebook.frozen_from"
