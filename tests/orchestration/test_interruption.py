"""A run that is killed: nothing half-written is taken for whole, and the same command finishes."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from assets.lineage import Lineage
from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT


def _kill_while_making(world, target):
    """Start everything and send SIGKILL as soon as ``target`` is being made."""
    where = ["--params", str(world.params_file), "--data", str(world.data)]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration", "materialize", *where],
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if f"{target}: making it" in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("target", ["interactions", "recommender_checkpoint", "submission"])
def test_the_same_command_finishes_after_a_kill(copied, finished, target):
    shutil.rmtree(copied.data / target)
    _kill_while_making(copied, target)
    assert not (copied.data / target / "lineage.json").exists()
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    assert "its process" in done.stderr  # the killed run was closed
    assert copied.onepiece("verify").returncode == 0
    if target != "submission":  # made again from the same recipe: the same bytes
        before = Lineage.read(finished.data / target)
        assert Lineage.read(copied.data / target) == before
    leftovers = [path.name for path in copied.data.rglob("*.partial-*")]
    assert leftovers == []
    again = copied.onepiece("materialize")
    assert "up to date" in again.stderr
