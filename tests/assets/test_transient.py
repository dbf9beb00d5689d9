"""What deserves another try and what does not."""

import errno
import sqlite3

import pytest
import torch

from assets.transient import WorkerOutOfMemoryError, may_pass
from model.errors import InputError


class IOException(Exception):  # noqa: N818 - as DuckDB calls it
    """DuckDB's, which cannot be made by hand."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ESTALE, "stale handle"),
        ConnectionResetError("reset"),
        TimeoutError("too slow"),
        sqlite3.OperationalError("database is locked"),
        IOException("Could not set lock on file"),
        torch.OutOfMemoryError("CUDA out of memory"),
        WorkerOutOfMemoryError("CUDA out of memory"),
    ],
)
def test_what_may_pass_is_tried_again(error):
    assert may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        InputError("the file is wrong"),
        FileNotFoundError("gone"),
        PermissionError("not yours"),
        OSError(errno.ENOSPC, "the disk is full"),
        OSError(errno.EDQUOT, "the quota is used up"),
        OSError("Not enough free space to write 800 bytes after offset 128"),
        OSError("100 requested and 0 written"),
        OSError(errno.EROFS, "read-only file system"),
        sqlite3.OperationalError("no such table"),
        IOException("not a database"),
        RuntimeError("the loss is not a number"),
        ValueError("shape"),
    ],
)
def test_what_stays_as_it_is_fails_at_once(error):
    assert not may_pass(error)
