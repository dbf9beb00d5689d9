"""Commands that only read answer at once: what takes seconds to import is left alone."""

import sys

import pytest

from orchestration.workspace import ROOT
from tests.orchestration.command import run

SLOW = {"torch", "pandas", "numba", "faiss", "dagster", "matplotlib"}


@pytest.mark.parametrize("command", ["report", "verify", "lineage", "submissions"])
def test_it_imports_nothing_slow(finished, command):
    where = ("--params", finished.params_file, "--data", finished.data)
    python = (sys.executable, "-X", "importtime", "-m", "orchestration")
    done = run(*python, command, *where, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "orchestration" in {name.partition(".")[0] for name in imported}
    assert not SLOW & imported


def test_explaining_and_recommending_do_not_wait_for_what_draws():
    asked = "import sys, orchestration.explanation; print('matplotlib' in sys.modules)"
    done = run(sys.executable, "-c", asked, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr[-2000:]
