"""The study of a workspace: read it as it is, or finish it."""

from assets.tuning.processes import run_workers
from assets.tuning.report import TuningReport
from assets.tuning.shared_study import SharedStudy
from assets.tuning.task import StudyTask, home_of
from assets.workspace import Workspace


def read_study(workspace: Workspace) -> TuningReport:
    """All trials that are finished.

    Raises:
        InputError: an upstream artefact is missing.
    """
    task = StudyTask.of(workspace)
    return TuningReport.of(_open(workspace, task), task)


def finish_study(workspace: Workspace, processes: int) -> None:
    """Let workers train the missing trials; other workers may share the study.

    Raises:
        InputError: an upstream artefact is missing, or the workers refused their input.
        RuntimeError: all of them failed.
    """
    if not _open(workspace, StudyTask.of(workspace)).is_complete():
        run_workers(workspace, processes)


def _open(workspace: Workspace, task: StudyTask) -> SharedStudy:
    return SharedStudy(home_of(workspace), task.name, workspace.params)
