"""`onepiece rollback`: an earlier champion again, in one step, on the record."""

from pathlib import Path

from assets.lineage import damage
from assets.promotion import DECISION_FILE, JudgedModel
from assets.rollbacks import note_rollback
from assets.workspace import CHAMPION, Workspace
from model.artifact import atomic_write
from model.errors import InputError
from model.inference.champion import CHAMPION_FILE
from orchestration.instance import open_instance
from orchestration.synchronization import report_existing


def roll_back(workspace: Workspace, wanted: str | None) -> str:
    """Make an earlier model the champion; the next submission is made from it.

    Args:
        workspace: whose champion changes.
        wanted: the beginning of a judged model's name; None for the champion's predecessor.

    Returns:
        A sentence on what was done.

    Raises:
        InputError: there is no such model, or it was never promoted, or it is damaged.
    """
    home = workspace.folder(CHAMPION)
    workspace.input_folder(CHAMPION)  # refused before locks are made where nothing else is
    with workspace.exclusive(CHAMPION):
        current = workspace.input_folder(CHAMPION)
        name = _promoted(home, wanted) if wanted else JudgedModel.load(current).decision.incumbent
        if name is None:
            raise InputError(f"{home}: {current.name} is the first champion")
        if not (home / name).is_dir():
            raise InputError(f"{home / name}: the predecessor's folder is missing; put it back")
        damaged = damage(home / name, workspace.hashes)
        if damaged:
            raise InputError(f"{home / name}: {damaged[0]}; put it back, or name another model")
        note_rollback(home, left=current.name, taken=name)
        atomic_write(home / CHAMPION_FILE, f"{name}\n")
        workspace.recorder.record(CHAMPION)
    change = f"{current.name} -> {name}"
    with open_instance(workspace) as instance:
        report_existing(instance, workspace, made_by=f"onepiece rollback: {change}")
    return f"champion: {change}; `onepiece materialize` submits from it"


def _promoted(home: Path, wanted: str) -> str:
    judged = sorted(path.parent.name for path in home.glob(f"*/{DECISION_FILE}"))
    found = [name for name in judged if name.startswith(wanted)]
    promoted = [name for name in found if JudgedModel.load(home / name).decision.promoted]
    if len(promoted) != 1:
        known = ", ".join(judged)
        raise InputError(f"{wanted}: not one promoted model in {home}, which has {known}")
    return promoted[0]
