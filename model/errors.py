"""The one error that a user's input can cause, how a process of its own tells it, and a full disk.

Without any import that takes time: the command line needs this to say how it failed.
"""

import errno
import re

INPUT_ERROR_EXIT = 2
REFUSED = "refused: "  # begins the line that carries the sentence, whoever else prints after it
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of the disk, or of what the user may have of it
_NUMPYS_DISK_FULL = re.compile(r"Not enough free space to write|\d+ requested and \d+ written")


class InputError(ValueError):
    """Bad input: the message names the file, the row or key, and the remedy.

    Command line and assets print the message alone, without a traceback.
    """


def is_disk_full(error: BaseException) -> bool:
    """Whether there was no room to write; numpy tells it without the number."""
    if not isinstance(error, OSError):
        return False
    in_words = error.errno is None and _NUMPYS_DISK_FULL.match(str(error)) is not None
    return error.errno in DISK_FULL or in_words
