"""What every process that trains does around its work: join the others, listen, tell the end."""

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
    """Remembers that SIGTERM came."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def __call__(self) -> bool:
        return self.came

    def end_at_once(self) -> None:
        """End as soon as it comes, or now if it has: what a stop could cost is on the disk."""
        signal.signal(signal.SIGTERM, _end)
        if self.came:
            sys.exit(TERMINATED_EXIT)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED_EXIT)


def run_worker(work: Callable[[World, Interruption], bool]) -> int:
    """Do the work of this process; 2 after a refusal, whose sentence is logged; 143 after SIGTERM.

    What else goes wrong is 1, as Python has it, but its traceback goes where the log goes: in a
    terminal standard error belongs to the bar, and nobody reads there that memory ran out.

    Args:
        work: told its world and whom to ask whether to stop; gives whether it is finished.
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
