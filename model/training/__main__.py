"""One training in processes of its own.

``python -m model.training encoder_checkpoint --params F --data DIR --out FOLDER``, or the same
under ``torchrun --nproc-per-node N -m``. A state that an earlier run left in DIR/.resume is taken
up; SIGTERM keeps one.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path
from types import FrameType

from model.errors import INPUT_ERROR_EXIT, REFUSED, InputError
from model.params import Params
from model.training.distributed import join_world, leave_world
from model.training.inputs import ENCODER, RECOMMENDER, TrainingInputs
from model.training.task import train

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


def main(arguments: list[str] | None = None) -> int:
    """Train; 2 after a refusal, whose sentence is the last line; 143 after SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("asset", choices=[ENCODER, RECOMMENDER])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    given = parser.parse_args(arguments)
    interruption = Interruption()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        world = join_world()
        params = Params.load(given.params)
        finished = train(
            TrainingInputs.load(given.data, params, given.asset),
            params,
            given.asset,
            world,
            state_folder=given.data / ".resume" / given.asset,
            out=given.out,
            events_folder=given.data / ".tensorboard" / given.asset,
            interrupted=interruption,
        )
    except InputError as error:
        logging.getLogger("onepiece").error("%s%s", REFUSED, error)
        return INPUT_ERROR_EXIT
    finally:
        leave_world()
    return 0 if finished else TERMINATED_EXIT


if __name__ == "__main__":
    sys.exit(main())
