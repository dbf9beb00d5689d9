"""Locks between processes that share a data folder."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO

from model.errors import InputError

logger = logging.getLogger("onepiece")

LOCK_WAIT_SECONDS = 24 * 3600.0


def _opened(path: Path) -> AbstractContextManager[IO[str] | None]:
    """A lock's file; where it cannot be written to, to read it, or None if it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
    return path.open() if path.is_file() else nullcontext()


@contextmanager
def locked(path: Path, mode: int) -> Iterator[None]:
    """Hold an advisory lock, which the kernel releases when its holder dies.

    Where nothing may be written, a lock file that is there is held all the same, against those who
    may, and one that is not there is left out.

    Args:
        path: of the lock file; its content names the holder to those who wait.
        mode: ``fcntl.LOCK_EX`` to hold it alone, ``LOCK_SH`` with others who share it.

    Raises:
        InputError: another process has held it for a day.
    """
    with _opened(path) as file:
        if file is None:
            yield
            return
        deadline, told = time.monotonic() + LOCK_WAIT_SECONDS, False
        while True:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip()
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{path.name}: in use by another process for a day (last made by "
                        f"{holder}); end that process"
                    ) from None
                if not told:
                    logger.info("%s: waiting, another process uses it (%s)", path.name, holder)
                    told = True
                time.sleep(0.2)
        if mode == fcntl.LOCK_EX and file.writable():
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
        yield
