"""The frame of every training process: join the others, handle SIGTERM, report the outcome."""

import logging
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from types import FrameType
from typing import NoReturn

from model.errors import INPUT_ERROR_EXIT, REFUSED, InputError
from model.training.distributed import World, join_world, leave_world
from model.training.memory import keep_freed_memory

FAILED_EXIT = 1
TERMINATED_EXIT = 128 + signal.SIGTERM


class Interruption:
    """Remembers whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def __call__(self) -> bool:
        return self.came

    def end_at_once(self) -> None:
        """Exit at SIGTERM, or now if it has arrived: all that matters is on disk by now."""
        signal.signal(signal.SIGTERM, _end)
        if self.came:
            sys.exit(TERMINATED_EXIT)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED_EXIT)


def run_worker(work: Callable[[World, Interruption], bool]) -> int:
    """Do the work of this process and return its exit code.

    0 when finished, 2 after an ``InputError``, whose message is logged, 143 after SIGTERM, and 1
    after any other error, as in Python. Its traceback goes where the log goes: in a terminal
    standard error belongs to the bar, where nobody would see that memory ran out.

    Args:
        work: takes the world and a function that tells whether to stop; returns whether it is
            finished.
    """
    interruption = Interruption()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        world = join_world()
        if world.device.type == "cpu":
            keep_freed_memory()
        finished = work(world, interruption)
    except InputError as error:
        logging.getLogger("onepiece").error("%s%s", REFUSED, error)
        return INPUT_ERROR_EXIT
    except Exception as error:
        with redirect_stderr(sys.stdout):  # torch's hook names the rank, where there are several
            sys.excepthook(type(error), error, error.__traceback__)
        return FAILED_EXIT
    finally:
        leave_world()
    return 0 if finished else TERMINATED_EXIT
