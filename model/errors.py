"""The error for bad input, how a subprocess reports it, and detection of a full disk.

Imports nothing slow: the command line needs this to report a failure.
"""

import errno
import re

INPUT_ERROR_EXIT = 2
REFUSED = "refused: "  # marks the line with the message, whatever is printed after it
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk is full, or the user's quota
_NUMPYS_DISK_FULL = re.compile(r"Not enough free space to write|\d+ requested and \d+ written")


class InputError(ValueError):
    """Bad input: the message names the file, the row or key, and the remedy.

    Command line and assets print the message alone, without a traceback.
    """


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk was full; numpy reports that without an error number."""
    if not isinstance(error, OSError):
        return False
    in_words = error.errno is None and _NUMPYS_DISK_FULL.match(str(error)) is not None
    return error.errno in DISK_FULL or in_words
