"""Threads that wait for each other beside a busy process: OpenMP's own way against ours.

    python -m tests.benchmarks.bench_waiting --neighbours 1

Prints the training steps per second of a small stack of HSTU layers, alone and while other
processes each keep a core busy: with the spinning that GNU's OpenMP does by itself, and with the
shorter one that importing ``model`` asks for. Each figure is the fastest round of a process. What
a neighbour costs depends on what it does: a loop of Python less than another training.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import model  # noqa: F401  # before torch: it is what is measured

WAYS = {"OpenMP's own": {"GOMP_SPINCOUNT": "300000"}, "ours": {}}  # the first as GNU's manual says
UNSET = {"GOMP_SPINCOUNT", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"}
ROUNDS = 3


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """So many processes that never rest."""
    started = [multiprocessing.Process(target=_never_rest, daemon=True) for _ in range(number)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.kill()


def _never_rest() -> None:
    while True:
        pass


def steps_per_second(way: dict[str, str], seconds: float) -> float:
    """Of a process of its own with as many threads as it likes."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    command = [sys.executable, "-m", "tests.benchmarks.bench_waiting", "--measure", str(seconds)]
    done = subprocess.run(
        command,
        env=environment | way,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


def measure(seconds: float) -> float:
    """Steps per second of the fastest round here."""
    from tests.benchmarks.bench_step import Stack, training_step

    step = training_step(Stack(64, 4, 2, 50), "numba", rows=16, length=50, dim=64)
    step()  # compiles
    return max(_rate(step, seconds / ROUNDS) for _ in range(ROUNDS))


def _rate(step, seconds: float) -> float:
    start, steps = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        step()
        steps += 1
    return steps / (time.monotonic() - start)


def main() -> None:
    """Measure both ways, alone and beside others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        print(measure(given.measure))
        return
    for number in (0, given.neighbours):
        with neighbours(number):
            found = {name: steps_per_second(way, given.seconds) for name, way in WAYS.items()}
        shown = ", ".join(f"{name} {rate:.1f}" for name, rate in found.items())
        ratio = found["ours"] / found["OpenMP's own"]
        print(f"{number} busy neighbours: steps per second: {shown}; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
