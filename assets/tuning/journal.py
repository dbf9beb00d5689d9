"""Optuna's journal in a file, safe against writers that are killed."""

import fcntl
import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


class KernelLock(JournalFileOpenLock):
    """Keeps other writers from the journal until this one is done or dead.

    Optuna's own locks are files: one that a killed process leaves behind blocks everybody, and an
    incomplete line that it wrote makes the journal unreadable as soon as another follows. The
    kernel releases this lock, and the next holder removes an incomplete line.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._held: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held = os.open(self._journal, os.O_RDWR)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        _remove_half_a_line(self._held)
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def open_journal(file: Path) -> JournalStorage:
    """The storage of all studies in this file, which is created if missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(file), lock_obj=KernelLock(file)))


def _remove_half_a_line(journal: int) -> None:
    end = os.lseek(journal, 0, os.SEEK_END)
    if end == 0 or os.pread(journal, 1, end - 1) == b"\n":
        return
    whole = os.pread(journal, end, 0).rfind(b"\n") + 1
    os.ftruncate(journal, whole)
