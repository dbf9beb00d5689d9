"""Which errors are transient, so that a step is worth a retry."""

import errno
import sqlite3

from model.errors import is_disk_full

_LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
)
_BUSY = "locked"  # as SQLite and DuckDB put it, whose files Dagster and the ledger are
# By name, so that assets which need neither torch nor DuckDB do not import them for this.
OUT_OF_DEVICE_MEMORY, _DATABASE_BUSY = "OutOfMemoryError", "IOException"


class WorkerOutOfMemoryError(RuntimeError):
    """A worker process ran out of memory on a device that others use as well."""


def is_forbidden(error: BaseException) -> bool:
    """Whether a path may not be read or written; not even by root on a read-only file system."""
    forbidden = isinstance(error, OSError) and error.errno == errno.EROFS
    return forbidden or isinstance(error, PermissionError)


def forbidden_sentence(error: BaseException) -> str:
    """The message for such an error, with the file where it is known."""
    place = getattr(error, "filename", None) or "a file"
    return f"{place}: {getattr(error, 'strerror', None) or error}; change its permissions"


def may_pass(error: Exception) -> bool:
    """Whether a retry may succeed: an I/O hiccup, a locked database, a device in use."""
    if isinstance(error, sqlite3.OperationalError):
        return _BUSY in str(error)
    if isinstance(error, OSError):  # a full disk is not cleared within seconds
        lasting = isinstance(error, _LASTING) or is_disk_full(error) or is_forbidden(error)
        return not lasting
    names = {kind.__name__ for kind in type(error).__mro__}
    if _DATABASE_BUSY in names:
        return "lock" in str(error).lower()
    return isinstance(error, WorkerOutOfMemoryError) or OUT_OF_DEVICE_MEMORY in names
