"""How long the trials of a tuning study took, in whichever processes they ran."""

from assets.tuning.task import TUNING_STUDY, home_of
from assets.workspace import Workspace
from model.artifact import read_json


def trial_seconds(workspace: Workspace) -> list[float]:
    """What each finished trial took, from when a process last took it up.

    Only Optuna's journal knows: the artefact is the same whenever it is made. Nothing is written,
    and without a journal of this study the list is empty.

    Raises:
        InputError: the artefact is damaged.
    """
    folder = workspace.folder(TUNING_STUDY)
    if not folder.exists():
        return []
    import optuna  # slow, as are the next two

    from assets.tuning.report import TRIALS_FILE
    from assets.tuning.shared_study import FINISHED, JOURNAL, open_journal

    journal = home_of(workspace) / JOURNAL
    if not journal.exists():
        return []
    storage = open_journal(journal)
    name = read_json(folder / TRIALS_FILE)[0]["lineage"]["study"]
    if name not in optuna.get_all_study_names(storage):
        return []
    study = optuna.load_study(study_name=name, storage=storage)
    took = [trial.duration for trial in study.get_trials(deepcopy=False, states=FINISHED)]
    return [duration.total_seconds() for duration in took if duration is not None]
