"""`onepiece tune` and `onepiece adopt`: run a study's trials, and write down the best values."""

from pathlib import Path

from assets.device import DEVICE
from assets.tuning.report import TuningReport
from assets.tuning.study import finish_study, read_study
from assets.tuning.task import TUNING_STUDY, home_of
from assets.workspace import Workspace
from model.artifact import atomic_write
from model.errors import InputError
from model.params import Params
from orchestration.follow_up import follow_up
from orchestration.materialization import materialize
from orchestration.parameter_text import with_values

TAGS = {"onepiece/door": "command line"}


def tune(workspace: Workspace, processes: int | None) -> str:
    """Finish the study, together with other workers on it, and materialise its asset.

    Args:
        workspace: whose study.
        processes: workers to start; None for the parameter file's.

    Returns:
        A sentence on the winner.

    Raises:
        InputError: bad input, or no trial completed.
        RunFailedError: something else went wrong.
    """
    materialize(workspace, workspace.stages[TUNING_STUDY].inputs, only=False, tags=TAGS)
    with (
        workspace.recorder.exclusive(TUNING_STUDY),  # no outputs: others may hold it likewise
        workspace.reading(TUNING_STUDY),
        workspace.device(DEVICE, shared=True),
    ):
        finish_study(workspace, processes or workspace.params.tuning_study.num_processes)
    materialize(workspace, [TUNING_STUDY], only=False, tags=TAGS)
    report = TuningReport.load(workspace.folder(TUNING_STUDY))
    command = follow_up(workspace, "adopt")
    return f"{_winner(report)}; `{command}` writes it into {workspace.params_file.name}"


def adopt(workspace: Workspace, into: Path | None) -> str:
    """Write the winner's values into a parameter file, leaving all else in it as it is.

    Args:
        workspace: whose study; one that is not finished yet gives its best so far.
        into: the file to change; a missing one starts as a copy of the workspace's.

    Returns:
        A sentence on what was done.

    Raises:
        InputError: there is no finished trial, or the file would not be valid.
    """
    report = _newest(workspace)
    winner = report.best
    target = into or workspace.params_file
    if target.is_dir():
        raise InputError(f"{target}: a folder; name a file for the values")
    source = target if target.exists() else workspace.params_file
    text = with_values(source, winner["parameters"])
    Params.parse(text, target)
    atomic_write(target, text)
    return f"{target}: {_winner(report)}"


def _newest(workspace: Workspace) -> TuningReport:
    """The study as it is now; the asset where nothing was tried yet with the present data."""
    folder = workspace.folder(TUNING_STUDY)
    begun = folder.exists() or home_of(workspace).exists()
    present = read_study(workspace) if begun else None
    if present is None or not (present.trials or folder.exists()):
        command = follow_up(workspace, "tune")
        raise InputError(f"{folder}: no trial is finished; run `{command}` first")
    return present if present.trials or not folder.exists() else TuningReport.load(folder)


def _winner(report: TuningReport) -> str:
    best = report.best
    return (
        f"trial {best['number']} of {len(report.trials)} is the best "
        f"(validation NDCG@10 {best['value']:.4f})"
    )
