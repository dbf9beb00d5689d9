"""Run one training in its own process or, under torchrun, processes.

``python -m model.training encoder_checkpoint --params F --data DIR --out FOLDER``, or the same
under ``torchrun --nproc-per-node N -m``. A state that an earlier run left in DIR/.resume is
resumed; SIGTERM saves one. --keep-state keeps it after the end too.
"""

import argparse
import sys
from pathlib import Path

from model.params import Params
from model.training import ENCODER, RECOMMENDER
from model.training.distributed import World
from model.training.inputs import TrainingInputs
from model.training.task import train
from model.training.worker import Interruption, run_worker


def main(arguments: list[str] | None = None) -> int:
    """Train; the exit code is that of :func:`run_worker`."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("asset", choices=[ENCODER, RECOMMENDER])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--keep-state", action="store_true", help="keep the state at the end")
    given = parser.parse_args(arguments)

    def work(world: World, interrupted: Interruption) -> bool:
        params = Params.load(given.params)
        return train(
            TrainingInputs.load(given.data, params, given.asset),
            params,
            given.asset,
            world,
            state_folder=given.data / ".resume" / given.asset,
            out=given.out,
            events_folder=given.data / ".tensorboard" / given.asset,
            interrupted=interrupted,
            keep_state=given.keep_state,
        )

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
