"""Devices are divided among workers, and every worker is told to end."""

import os
import signal
import sys

import pytest

from assets.tuning import processes
from assets.tuning.processes import _visible, shares


@pytest.mark.parametrize(
    ("devices", "processes", "divided"),
    [
        (0, 2, [[], []]),
        (1, 1, [[0]]),
        (1, 3, [[0], [0], [0]]),
        (4, 2, [[0, 2], [1, 3]]),
        (3, 2, [[0, 2], [1]]),
        (2, 3, [[0], [1], [0]]),
    ],
)
def test_each_worker_has_its_share(devices, processes, divided):
    assert shares(range(devices), processes) == divided


def test_a_device_is_called_by_the_name_under_which_we_were_given_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f")
    assert _visible([1]) == "GPU-5f"
    assert _visible([0, 1]) == "3,GPU-5f"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _visible([1, 2]) == "1,2"


class _Worker:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self.told = False

    def terminate(self) -> None:
        self.told = True

    def wait(self) -> int:
        return 75 if self.told else 0


def test_a_signal_while_workers_start_reaches_all_of_them(monkeypatch):
    started = []

    def start(*_):
        started.append(_Worker())
        if len(started) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(processes, "_start", start)
    given = ["--params", "p.yaml", "--data", "data", "--processes", "3"]
    monkeypatch.setattr(sys, "argv", ["processes", *given])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert processes.main() == 75
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [worker.told for worker in started] == [True, True]
