"""The study of a workspace: as it stands, and to its end."""

from assets.tuning.processes import run_workers
from assets.tuning.report import TuningReport
from assets.tuning.shared_study import SharedStudy
from assets.tuning.task import StudyTask, home_of
from assets.workspace import Workspace


def read_study(workspace: Workspace) -> TuningReport:
    """All trials that are finished.

    Raises:
        InputError: something upstream is not there.
    """
    task = StudyTask.of(workspace)
    return TuningReport.of(_open(workspace, task), task)


def finish_study(workspace: Workspace, processes: int) -> None:
    """Have workers train what is missing, beside others that may be at it.

    Raises:
        InputError: something upstream is not there, or the workers refused their input.
        RuntimeError: all of them failed.
    """
    if not _open(workspace, StudyTask.of(workspace)).is_complete():
        run_workers(workspace, processes)


def _open(workspace: Workspace, task: StudyTask) -> SharedStudy:
    return SharedStudy(home_of(workspace), task.name, workspace.params)
