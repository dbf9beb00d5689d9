"""The pipeline asks nobody: it runs where no connection leaves the machine."""

import os
import subprocess
import sys

from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT
from tests.orchestration.tiny_world import write_tiny_params

CUT_OFF = """
import socket
def refuse(*arguments, **options):
    print("NETWORK", arguments, flush=True)
    raise OSError("the network is off")
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def test_assets_are_made_and_checked_without_a_network(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CUT_OFF)
    file = write_tiny_params(tmp_path / "params.yaml")
    data = tmp_path / "data"
    command = ["materialize", "coverage_report", "--params", str(file), "--data", str(data)]
    done = subprocess.run(
        [sys.executable, "-m", "orchestration", *command],
        cwd=ROOT,
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (data / "coverage_report" / "lineage.json").exists()
    assert "NETWORK" not in done.stdout + done.stderr
