"""Several want the same at once: one result, nothing broken, and whoever waited was told why."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.orchestration.command import ENVIRONMENT, onepiece, run
from tests.orchestration.tiny_repository import DVC

REPRO = (str(DVC), "repro")
MATERIALIZE = (sys.executable, "-m", "orchestration", "materialize")
WAITED = "waiting, another process uses it|waiting for DVC"
BLOCKED = "blocked by|is busy|Unable to acquire lock"


@pytest.mark.long
@pytest.mark.parametrize("others", [(REPRO, REPRO), (MATERIALIZE, REPRO), (MATERIALIZE,) * 2])
def test_two_at_once_leave_one_result(reproduced, others):
    _change(reproduced)
    started = [_start(command, reproduced) for command in others]
    ended = [(process.communicate(timeout=300), process.returncode) for process in started]
    said = ["".join(output) for output, _ in ended]

    for command, text, (_, code) in zip(others, said, ended, strict=True):
        assert code == 0 or (command == REPRO and re.search(BLOCKED, text)), text
    assert any(code == 0 for _, code in ended)
    assert re.search(f"{WAITED}|{BLOCKED}", "".join(said)), said
    for name in ("evaluation_report", "champion", "submission"):
        assert "".join(said).count(f"{name}: making it") <= 1, said

    done = run(*REPRO, cwd=reproduced)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "up to date" in run(DVC, "status", cwd=reproduced).stdout
    verified = onepiece("verify", cwd=reproduced)
    assert verified.returncode == 0, verified.stdout


def _change(root):
    """Something from which the evaluation has to be made again."""
    file = root / "params.yaml"
    values = yaml.safe_load(file.read_text())
    values["cascade"]["num_sids"] += 1
    file.write_text(yaml.safe_dump(values, sort_keys=False))


def _start(command, root):
    return subprocess.Popen(
        command,
        cwd=root,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
