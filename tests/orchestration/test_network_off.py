"""The pipeline asks nobody: it runs where no connection leaves the machine."""

import os
import subprocess
import sys

from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT
from tests.orchestration.tiny_world import write_tiny_params

# Told to every Python process by its start-up file; this machine's own addresses stay open.
CUT_OFF = """
import socket
LOCAL = ("127.0.0.1", "localhost", "::1", "", None)
def guard(name, owner, place):
    known = getattr(owner, name)
    def guarded(*arguments, **options):
        address = arguments[place]
        host = address[0] if isinstance(address, tuple) else address
        if host in LOCAL or isinstance(address, (str, bytes)) and "/" in str(address):
            return known(*arguments, **options)
        print("NETWORK", name, address, flush=True)
        raise OSError("the network is off")
    setattr(owner, name, guarded)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    guard(name, socket, 0)
for name in ("connect", "connect_ex"):
    guard(name, socket.socket, 1)
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
