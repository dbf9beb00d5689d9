"""Which runs live: each run's process holds a lock in Dagster's home, seen from every container."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from model.partial_folders import partial_of

_FOLDER = "running"


def hold(home: Path, run_id: str) -> FileIO:
    """Lock a run's file until it is closed, or this process ends, however it does.

    The file appears locked: who finds it unlocked knows that the run's process is dead. A forked
    child closes its copy, which would keep the lock beyond its parent's death and does not release
    it; a command that is executed inherits none.
    """
    file = home / _FOLDER / run_id
    file.parent.mkdir(exist_ok=True)
    partial = partial_of(home / run_id)
    held = FileIO(partial, "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    partial.replace(file)
    os.register_at_fork(after_in_child=held.close)  # and so it is never collected, which closes it
    return held


@contextmanager
def running(home: Path, run_id: str) -> Iterator[None]:
    """Hold a run's file until the run has ended, then remove it.

    After an error it stays, unlocked: whether the run has ended is looked up by the next command.
    """
    with hold(home, run_id):
        yield
    (home / _FOLDER / run_id).unlink(missing_ok=True)


def find_released(home: Path) -> Iterator[str]:
    """Ids of runs whose processes have died or let go; each one's file is removed afterwards."""
    for file in sorted((home / _FOLDER).glob("*")):
        with suppress(FileNotFoundError, BlockingIOError), FileIO(file, "r+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file.name
            file.unlink(missing_ok=True)
