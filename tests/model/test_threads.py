"""OMP_NUM_THREADS and torch.set_num_threads hold for compiled kernels, and waiting is cheap."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.compiled import threads_allowed

UNSET = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
COUNT = """
import torch
{before}
from model.network.threads import torch_threads
with torch_threads() as threads:
    print(threads, torch.get_num_threads())
"""
FIRST = """
import importlib, sys
importlib.import_module({module!r})
loaded = list(sys.modules)
print(loaded.index("model") < loaded.index("torch"))
"""


def _run(code, **environment):
    known = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=known | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": " 3,1"}, 3),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "0"}, 1),
        ({"OMP_NUM_THREADS": "many"}, 8),
        ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "8"}, 8),
    ],
)
def test_numba_starts_what_openmp_may(environment, allowed):
    assert threads_allowed(environment, 8) == allowed


def test_a_kernel_by_itself_starts_no_more_threads_and_leaves_those_of_torch():
    code = """
import torch
import model.compiled
from numba import get_num_threads
print(get_num_threads(), torch.get_num_threads())
"""
    assert _run(code, OMP_NUM_THREADS="1") == ["1", "1"]


def test_kernels_leave_the_number_of_threads_as_they_found_it():
    assert _run(COUNT.format(before=""), OMP_NUM_THREADS="1") == ["1", "1"]
    assert _run(COUNT.format(before="torch.set_num_threads(1)")) == ["1", "1"]


@pytest.mark.parametrize(
    "module",
    [
        "orchestration.definitions",
        "model.training.__main__",
        "model.inference.__main__",
        "model.scaling.__main__",
    ],
)
def test_openmp_is_told_how_long_to_spin_before_it_is_loaded(module):
    assert _run(FIRST.format(module=module)) == ["True"]


@pytest.mark.parametrize(
    ("said", "spins"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_what_the_user_says_of_waiting_holds(said, spins):
    assert _run("import model, os; print(os.environ.get('GOMP_SPINCOUNT'))", **said) == [spins]
