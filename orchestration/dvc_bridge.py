"""DVC's side of every materialisation: its locks before, its record after.

A run that Dagster started takes DVC's own reader/writer lock on the stage's files and commits the
finished outputs. Inside ``dvc repro`` DVC holds the lock and records the outputs itself.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

from assets.recorder import Edited, NoRecorder, Recorder
from model.errors import InputError
from orchestration.lock_guard import LOCK, is_whole, start_guard

logger = logging.getLogger("onepiece")

WAIT_SECONDS = 24 * 3600.0


class DvcRecorder:
    """Keeps ``dvc.lock`` and DVC's cache in step with what Dagster makes."""

    counts_folders = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._repository: Any = None

    @property
    def _repo(self) -> Any:
        if self._repository is None:
            from dvc.repo import Repo  # half a second: only where something is recorded

            _set_damaged_lock_aside(self._root / LOCK)
            start_guard(os.getpid(), self._root)
            self._repository = Repo(str(self._root))
        return self._repository

    @contextmanager
    def exclusive(self, target: str) -> Iterator[None]:
        """Hold DVC's lock on the outputs (to write) and the dependencies (to read) of a stage.

        Raises:
            InputError: another process held it for a day.
        """
        (stage,) = self._wait(lambda: self._repo.stage.collect(target), target)
        with self._wait(lambda: self._locked(stage), target):
            yield

    def _locked(self, stage: Any) -> ExitStack:
        """DVC's own lock on a stage's files, held until the stack is closed; or a LockError."""
        from dvc.rwlock import rwlock

        with ExitStack() as held:
            held.enter_context(
                rwlock(
                    self._repo.tmp_dir,
                    self._repo.fs,
                    " ".join(sys.argv),
                    [dep.fs_path for dep in stage.deps],
                    [out.fs_path for out in stage.outs],
                    self._repo.config["core"].get("hardlink_lock", False),
                )
            )
            return held.pop_all()

    def record(self, target: str, edited: Edited) -> None:
        """Commit a stage's outputs, unless DVC has them already.

        DVC would record the inputs as they are now. Where these were edited while the outputs were
        made, the outputs go into DVC's cache only, and ``dvc.lock`` stays as it is.
        """

        def commit() -> None:
            if not self._repo.status([target]):
                return
            reason = edited()
            if reason is None:
                self._repo.commit(target, force=True)
                return
            logger.warning(
                "%s: edited meanwhile: %s; it is kept in DVC's cache, but not recorded in %s",
                target,
                reason,
                LOCK,
            )
            self._keep(target)

        self._wait(commit, target)

    def _keep(self, target: str) -> None:
        with self._repo.lock:
            (stage,) = self._repo.stage.collect(target)
            for out in stage.outs:
                out.save()
                out.commit()

    def unrecorded(self, targets: Sequence[str]) -> list[str]:
        """Stages whose outputs, dependencies or parameters DVC considers changed."""
        return list(self._wait(lambda: self._repo.status(list(targets)), targets[0]))

    def _wait(self, action: Any, target: str) -> Any:
        """Retry until DVC's locks are free; log once who holds them.

        Raises:
            InputError: they were held for a day, or DVC fails: it rereads ``params.yaml`` each
                time, which may be invalid or lack the stage by now.
        """
        from dvc.exceptions import DvcException
        from dvc.lock import LockError

        deadline, told = time.monotonic() + WAIT_SECONDS, False
        while True:
            try:
                with chdir(self._root):  # where DVC looks up stages by name
                    return action()
            except LockError as error:
                if time.monotonic() > deadline:
                    raise InputError(f"{target}: DVC's lock was held for a day: {error}") from None
                if not told:
                    logger.info("%s: waiting for DVC: %s", target, error)
                    told = True
                time.sleep(0.5)
            except DvcException as error:  # its message is meant for the user
                raise InputError(
                    f"{target}: DVC says: {error}; fix that (a file may have been edited since "
                    "this run began) and run the same command again"
                ) from None


class InsideDvc(NoRecorder):
    """Inside ``dvc repro``: DVC holds the locks, and records the outputs when the stage ends."""

    counts_folders = True

    def record(self, target: str, edited: Edited) -> None:
        """Check that DVC will record what the outputs were made from.

        Raises:
            InputError: that was edited meanwhile, and DVC would record the edited files.
        """
        reason = edited()
        if reason is not None:
            raise InputError(
                f"{target}: edited meanwhile: {reason}; the same command makes it again"
            )


def _set_damaged_lock_aside(file: Path) -> None:
    """Move away a ``dvc.lock`` that a power cut left incomplete; all is then recorded again."""
    if file.exists() and not is_whole(file.read_bytes()):
        aside = file.with_suffix(".lock.damaged")
        logger.warning("%s: damaged; set aside as %s and rewritten", file, aside.name)
        file.rename(aside)


def choose_recorder(root: Path, *, own: bool) -> Recorder:
    """DVC for the repository's own data and parameters; other folders are not recorded.

    Args:
        root: of the repository.
        own: whether the run uses the repository's own data folder and parameter file.
    """
    if not own or not (root / ".dvc").is_dir():
        return NoRecorder()
    return InsideDvc() if "DVC_STAGE" in os.environ else DvcRecorder(root)
