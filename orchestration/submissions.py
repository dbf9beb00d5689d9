"""The submissions of a data folder: found by id, newest or a prefix."""

from collections.abc import Sequence
from pathlib import Path

from assets.workspace import SUBMISSION, Workspace
from model.errors import InputError
from orchestration.follow_up import follow_up


def submission_ids(workspace: Workspace) -> list[str]:
    """All ids on disk, in order of their creation."""
    folder = workspace.folder(SUBMISSION)
    manifests = folder.glob("*/manifest.json")
    return [path.parent.name for path in sorted(manifests, key=lambda path: path.stat().st_mtime)]


def none_yet(workspace: Workspace) -> str:
    """What is said where there is no submission."""
    home = workspace.folder(SUBMISSION)
    return f"{home}: no submission was made yet; run `{follow_up(workspace, 'materialize')}`"


def newest_id(workspace: Workspace) -> str:
    """The id that ``latest`` names.

    Raises:
        InputError: there is none.
    """
    return workspace.current_folder(SUBMISSION).name


def named(wanted: str, known: Sequence[str]) -> list[str]:
    """The name that is given whole, or else all that begin like it."""
    return [wanted] if wanted in known else [name for name in known if name.startswith(wanted)]


def find_submission(workspace: Workspace, wanted: str | None) -> Path:
    """The folder of a submission.

    Args:
        workspace: whose data folder is searched.
        wanted: an id or the beginning of a single one; None for the newest.

    Raises:
        InputError: no submission, or several, have such an id.
    """
    if wanted is None:
        return workspace.current_folder(SUBMISSION)
    home, known = workspace.folder(SUBMISSION), submission_ids(workspace)
    if not known:
        raise InputError(none_yet(workspace))
    ids = named(wanted, known)
    if len(ids) != 1:
        problem = "no submission has this id" if not ids else f"{len(ids)} submissions match"
        raise InputError(f"{wanted}: {problem}; name one of {home}: {', '.join(known)}")
    return home / ids[0]
