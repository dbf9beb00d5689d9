"""A stage that is forked from the server behaves as one that runs by itself."""

import subprocess
import sys

import psutil
import pytest

from orchestration.stage_server import SOCKET
from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT
from tests.orchestration.opened_ui import wait_until
from tests.orchestration.tiny_world import write_tiny_params


def _servers(folder):
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if "orchestration.stage_server" in (process.info["cmdline"] or [])
        and process.info["cwd"] == str(folder)
    ]


@pytest.fixture
def start(tmp_path):
    """Starts the command line as DVC starts a stage."""
    (tmp_path / SOCKET).parent.mkdir(parents=True)
    environment = {**ENVIRONMENT, "DVC_STAGE": "any", "PYTHONPATH": str(ROOT)}

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "orchestration", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    yield start
    for server in _servers(tmp_path):
        server.kill()


def _finish(process):
    return (*process.communicate(timeout=300), process.returncode)


def test_output_exit_code_and_end_are_those_of_a_command_of_its_own(start, tmp_path):
    params = write_tiny_params(tmp_path / "params.yaml")
    refused = ("materialize", "nonsense", "--params", params)
    alone = [_finish(start("--help")), _finish(start(*refused))]
    wait_until((tmp_path / SOCKET).exists, 60, "the server listens")
    assert [_finish(start("--help")), _finish(start(*refused))] == alone
    assert [code for _, _, code in alone] == [0, 2]

    before = _servers(tmp_path)  # on a busy machine each of the first two has left one
    stage = start("materialize", "interactions", "--params", params, "--data", tmp_path / "data")
    assert stage.stderr is not None
    assert any("raw_data: making it" in line for line in stage.stderr)
    (forked,) = set(_servers(tmp_path)) - set(before)
    assert forked.parent() in before
    stage.kill()
    stage.wait()
    wait_until(lambda: not forked.is_running(), 60, "the stage ends with who waits for it")
