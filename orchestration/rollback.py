"""`onepiece rollback`: make an earlier model the champion again, and record it."""

from functools import partial
from pathlib import Path

from assets.lineage import Lineage, damage
from assets.promotion import DECISION_FILE, JudgedModel
from assets.rollbacks import model_hashes, note_rollback
from assets.staleness import edited_since
from assets.workspace import CHAMPION, Workspace
from model.artifact import atomic_write
from model.errors import InputError
from model.inference.champion import CHAMPION_FILE
from model.inference.inputs import InferenceInputs
from orchestration.follow_up import follow_up
from orchestration.instance import open_instance
from orchestration.submissions import named
from orchestration.synchronization import report_existing


def roll_back(workspace: Workspace, wanted: str | None) -> str:
    """Make an earlier model the champion; the next submission is made from it.

    Args:
        workspace: whose champion changes.
        wanted: the beginning of a judged model's name; None for the nearest predecessor of the
            champion that is another model.

    Returns:
        A sentence on what was done.

    Raises:
        InputError: there is no such model, or it was never promoted, or it is damaged, or it is
            of other items than the data.
    """
    home = workspace.folder(CHAMPION)
    workspace.input_folder(CHAMPION)  # refuse before a lock file is put into an empty folder
    with workspace.exclusive(CHAMPION):
        current, passed = workspace.input_folder(CHAMPION), 0
        if wanted:
            name = _promoted(home, wanted)
        else:
            name, passed = _predecessor(current)
        if not (home / name).is_dir():
            raise InputError(f"{home / name}: the predecessor's folder is missing; put it back")
        damaged = damage(home / name, workspace.hashes)
        if damaged:
            raise InputError(f"{home / name}: {damaged[0]}; put it back, or name another model")
        _require_its_items(workspace, home / name, current.name)
        note_rollback(home, left=current.name, taken=name)
        atomic_write(home / CHAMPION_FILE, f"{name}\n")
        recipe = Lineage.read(workspace.current_folder(CHAMPION)).recipe
        workspace.recorder.record(CHAMPION, partial(edited_since, workspace, recipe))
    change = f"{current.name} -> {name}"
    with open_instance(workspace) as instance:
        report_existing(instance, workspace, made_by=f"onepiece rollback: {change}")
    over = f", past {passed} of the same weights and codebook" if passed else ""
    return f"champion: {change}{over}; `{follow_up(workspace, 'materialize')}` submits from it"


def _predecessor(current: Path) -> tuple[str, int]:
    """The nearest champion before this one that is another model, and how many were passed over.

    A champion that was only measured again, under other parameters of the cascade, was judged
    against itself: going back to it would change nothing.

    Raises:
        InputError: there is none.
    """
    model, passed = model_hashes(current), 0
    name = JudgedModel.load(current).decision.incumbent_id
    while name is not None:
        earlier = current.with_name(name)
        if model is None or model_hashes(earlier) != model:
            return name, passed
        name, passed = JudgedModel.load(earlier).decision.incumbent_id, passed + 1
    if not passed:
        raise InputError(f"{current.parent}: {current.name} is the first champion")
    raise InputError(
        f"{current.parent}: all champions before {current.name} have its weights and codebook; "
        "name another model"
    )


def _require_its_items(workspace: Workspace, model: Path, current: str) -> None:
    """Refuse a model that could not submit, because the catalogue has changed since.

    Where the data is incomplete this is not known yet: the next run makes the data, and judges.

    Raises:
        InputError: the model was trained on other items or features than those of the data.
    """
    modalities = workspace.params.modality_embeddings.modalities
    try:
        inputs = InferenceInputs.load(workspace.data, model, modalities)
    except InputError:
        return
    if not inputs.checkpoint.can_read(inputs.interactions, inputs.statistics, inputs.embeddings):
        raise InputError(
            f"{model}: trained on other items or features than those of "
            f"{workspace.folder('interactions')}, so that it cannot submit; bring back the "
            f"delivery that it was trained on and materialise it first, or keep {current}"
        )


def _promoted(home: Path, wanted: str) -> str:
    judged = sorted(path.parent.name for path in home.glob(f"*/{DECISION_FILE}"))
    found = named(wanted, judged)
    promoted = [name for name in found if JudgedModel.load(home / name).decision.promoted]
    if len(promoted) != 1:
        known = ", ".join(judged)
        raise InputError(f"{wanted}: not one promoted model in {home}, which has {known}")
    return promoted[0]
