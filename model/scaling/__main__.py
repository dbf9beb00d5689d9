"""Train and measure one point of the study in its own processes.

``python -m model.scaling joint_l4_d64_e8_f100_s0 --params F --data DIR --out FOLDER``, or the same
under ``torchrun --nproc-per-node N -m``. Resumes from the state that an earlier run left in
DIR/.resume; SIGTERM saves one. --keep-state keeps it after the end, too.
"""

import argparse
import sys
from pathlib import Path

from model.params import Params
from model.scaling.grid import Point
from model.scaling.training import make_point
from model.training.distributed import World
from model.training.worker import Interruption, run_worker


def main(arguments: list[str] | None = None) -> int:
    """Make the point; the exit code is that of :func:`run_worker`."""
    parser = argparse.ArgumentParser(prog="python -m model.scaling", description=__doc__)
    parser.add_argument("point", help="its name")
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the point")
    parser.add_argument("--keep-state", action="store_true", help="leave the state in DIR/.resume")
    given = parser.parse_args(arguments)

    def work(world: World, interrupted: Interruption) -> bool:
        return make_point(
            Point.parse(given.point),
            Params.load(given.params),
            given.data,
            world,
            state_folder=given.data / ".resume" / given.point,
            out=given.out,
            interrupted=interrupted,
            trained=interrupted.end_at_once,
            keep_state=given.keep_state,
        )

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
