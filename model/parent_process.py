"""Processes that end with the one that started them, also if that is killed."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process receive SIGTERM when its parent process dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def obey_parent() -> None:
    """As ``preexec_fn``: the new process ends on SIGTERM, and receives it when its parent dies.

    What is started in the background ignores SIGINT, Dagster gives SIGTERM the same handler, and
    children inherit what is ignored.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
