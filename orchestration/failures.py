"""How a command can fail, and what it then says: one sentence where the user can fix it."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator

from assets.transient import forbidden_sentence, is_forbidden
from model.errors import INPUT_ERROR_EXIT, InputError, is_disk_full

RUN_FAILED, INTERRUPTED = 1, 130  # the second is typer's exit code of KeyboardInterrupt


class RunFailedError(Exception):
    """A run did not finish; the message says which step and why."""


def told(error: Exception) -> tuple[str, int] | None:
    """A command's message on an error, and its exit code; None for a bug.

    Args:
        error: what ended the command.
    """
    if isinstance(error, InputError):
        return str(error), INPUT_ERROR_EXIT
    if isinstance(error, RunFailedError):
        return str(error), RUN_FAILED
    if is_forbidden(error):
        return forbidden_sentence(error), INPUT_ERROR_EXIT
    if is_disk_full(error):
        return f"{error}; free some space and run the same command again", INPUT_ERROR_EXIT
    for one in _causes(error):
        if isinstance(one, sqlite3.OperationalError) and re.search("disk|readonly", str(one)):
            return _records_failed(one), INPUT_ERROR_EXIT
    return None


def _records_failed(error: sqlite3.OperationalError) -> str:
    home = os.environ["DAGSTER_HOME"]
    free = shutil.disk_usage(home).free
    return (
        f"{home}: Dagster's records cannot be written ({error}; {free:,} bytes are free); free "
        "some space or make the folder writable, and run the same command again"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes; SQLAlchemy and Dagster wrap SQLite's errors in their own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
