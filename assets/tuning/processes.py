"""Several workers of one study, each with its share of the machine's devices.

``python -m assets.tuning.processes --params F --data DIR --processes N`` starts them, passes their
lines on and ends when all have ended. A worker that is killed costs nothing but time: the others
retry its trial.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import torch

from assets.training_worker import frozen_parameters, launcher, stream
from assets.workspace import Workspace
from model.parent_process import obey_parent


def run_workers(workspace: Workspace, processes: int) -> None:
    """Let workers finish the study, passing their lines on; they end when this process ends.

    Raises:
        InputError: they refused their input.
        RuntimeError: all of them failed.
    """
    with frozen_parameters(workspace) as params:
        where = ["--params", str(params), "--data", str(workspace.data)]
        module = ["-m", "assets.tuning.processes", *where]
        stream([*module, "--processes", str(processes)], cwd=workspace.root)


def shares(devices: Sequence[int], processes: int) -> list[list[int]]:
    """Divide devices among processes: evenly, or round-robin where processes are more."""
    if len(devices) < processes:
        return [[devices[place % len(devices)]] if devices else [] for place in range(processes)]
    return [list(devices[place::processes]) for place in range(processes)]


def _start(devices: list[int], processes: int, where: Sequence[str]) -> subprocess.Popen:
    environment = dict(os.environ)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = _visible(devices)
    cores = len(os.sched_getaffinity(0))
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    module = [*launcher(len(devices)), "assets.tuning.worker", *where]
    return subprocess.Popen(
        [sys.executable, "-m", *module], env=environment, preexec_fn=obey_parent
    )


def _visible(devices: Sequence[int]) -> str:
    """This process's device numbers, by their names in its CUDA_VISIBLE_DEVICES."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(device) for device in range(max(devices) + 1)]
    return ",".join(names[device] for device in devices)


def main() -> int:
    """Start the workers and wait for all; 0 if one of them saw the study complete."""
    parser = argparse.ArgumentParser(prog="python -m assets.tuning.processes", description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--processes", type=int, required=True)
    given = parser.parse_args()
    where = ["--params", str(given.params), "--data", str(given.data)]
    workers: list[subprocess.Popen] = []
    stopping = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for worker in workers:
            worker.terminate()

    signal.signal(signal.SIGTERM, pass_on)
    divided = shares(range(torch.cuda.device_count()), given.processes)
    for devices in divided:
        workers.append(_start(devices, given.processes, where))
        if stopping:  # the signal came before this one could be told
            workers[-1].terminate()
            break
    codes = [worker.wait() for worker in workers]
    return 0 if 0 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
