"""Partitions that the parameters no longer name are kept in ``.aside`` until named again."""

import fcntl
import logging
import shutil
from pathlib import Path

from assets.lineage import LINEAGE_FILE
from assets.stages import Stage
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params

logger = logging.getLogger("onepiece")


def set_aside_unnamed(workspace: Workspace, stage: Stage) -> None:
    """Move partitions that the parameters no longer name out of their asset's folder.

    To DVC, what reads the partitions depends on that whole folder: with an extra one in it,
    everything downstream looks changed wherever only the named ones have been fetched. One that the
    parameter file names by now stays: a run that began later has made it.

    Raises:
        InputError: another process has held one of them for a day.
    """
    if not workspace.recorder.counts_folders:
        return
    try:
        now = Params.load(workspace.params_file)
    except InputError:  # being edited: what it will name is unknown
        return
    named = {*workspace.partitions(stage), *stage.partitions(now.model_dump(mode="json"))}
    for file in workspace.folder(stage.name).glob(f"*/{LINEAGE_FILE}"):
        name = file.parent.name
        if name in named:
            continue
        with workspace.locked(stage.target(name), fcntl.LOCK_EX):
            if file.exists():  # another process may have done it
                aside = _aside(workspace, stage.name, name)
                shutil.rmtree(aside, ignore_errors=True)
                aside.parent.mkdir(exist_ok=True)
                file.parent.rename(aside)
                logger.info("%s: no longer named, kept in %s", stage.target(name), aside)


def bring_back_named(workspace: Workspace, stage: Stage) -> None:
    """Put back named partitions that another run, which does not name them, has set aside.

    Raises:
        InputError: another process has held one of them for a day.
    """
    for name in stage.partitions(workspace.values):
        if is_aside(workspace, stage.name, name):  # no needless lock: readers may hold it long
            with workspace.locked(stage.target(name), fcntl.LOCK_EX):
                bring_back(workspace, stage.name, name)


def bring_back(workspace: Workspace, asset: str, partition: str) -> None:
    """Put a partition that is named again in its place; whether it is current is checked later."""
    if is_aside(workspace, asset, partition):
        folder = workspace.folder(asset, partition)
        folder.parent.mkdir(exist_ok=True)
        _aside(workspace, asset, partition).rename(folder)


def is_aside(workspace: Workspace, asset: str, partition: str) -> bool:
    """Whether a partition has been set aside and its place is empty."""
    waits = _aside(workspace, asset, partition).exists()
    return waits and not workspace.folder(asset, partition).exists()


def _aside(workspace: Workspace, asset: str, partition: str) -> Path:
    return workspace.data / ".aside" / f"{asset}@{partition}"
