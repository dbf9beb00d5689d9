"""Which errors may pass by themselves, so that a step deserves another try."""

import errno
import sqlite3

_LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_FULL = (errno.ENOSPC, errno.EDQUOT)  # nobody makes room within seconds
_BUSY = "locked"  # as SQLite and DuckDB put it, whose files Dagster and the ledger are
# By name, so that assets which need neither torch nor DuckDB do not import them for this.
OUT_OF_DEVICE_MEMORY, _DATABASE_BUSY = "OutOfMemoryError", "IOException"


class WorkerOutOfMemoryError(RuntimeError):
    """A process of its own found no room on a device that others use as well."""


def may_pass(error: Exception) -> bool:
    """Whether the same step may succeed in a moment: a hiccup, a lock, a device in use."""
    if isinstance(error, sqlite3.OperationalError):
        return _BUSY in str(error)
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING) and error.errno not in _FULL
    names = {kind.__name__ for kind in type(error).__mro__}
    if _DATABASE_BUSY in names:
        return "lock" in str(error).lower()
    return isinstance(error, WorkerOutOfMemoryError) or OUT_OF_DEVICE_MEMORY in names
