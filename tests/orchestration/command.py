"""The command line in a process of its own, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

from orchestration.workspace import ROOT

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
    "OMP_NUM_THREADS": "1",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "COLUMNS": "120",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def onepiece(*arguments, cwd=ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of the repository in ``cwd`` to its end."""
    return run(sys.executable, "-m", "orchestration", *arguments, cwd=cwd)


def run(*command, cwd) -> subprocess.CompletedProcess[str]:
    """Run any command to its end."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
