"""The watch over dvc.lock: what counts as whole, and what is put back."""

import subprocess
import threading
import time

import pytest
import yaml

from orchestration.lock_guard import LOCK, guard, is_whole
from tests.orchestration.command import ENVIRONMENT, onepiece, run
from tests.orchestration.opened_ui import wait_until
from tests.orchestration.tiny_repository import DVC, make_tiny_repository


def _file(path):
    return {"path": path, "hash": "md5", "md5": "0" * 32, "size": 1}


def _lock(*names):
    stages = {
        name: {"cmd": "make it", "deps": [_file("a")], "outs": [_file(name)]} for name in names
    }
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False).encode()


ONE, TWO = _lock("one"), _lock("one", "two")


def test_a_lock_is_whole_and_one_of_nothing_too():
    assert is_whole(ONE)
    assert is_whole(TWO)
    assert is_whole(b"schema: '2.0'\nstages: {}\n")


@pytest.mark.parametrize("kept", [0, 1, 9, 40, len(TWO) // 2, len(TWO) - 1])
def test_a_part_of_it_is_not(kept):
    assert not is_whole(TWO[:kept])


@pytest.mark.parametrize("content", [None, b"[]\n", b"\xff\xfe\n", b"stages:\n  a: [\n", b"{}\n"])
def test_other_things_are_not(content):
    assert not is_whole(content)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([ONE, TWO], TWO),
        ([ONE, TWO, b""], TWO),
        ([ONE, b"", TWO, TWO[:150]], TWO),
        ([TWO, ONE], ONE),  # somebody checked out an older one
        ([b""], None),
        ([], None),
    ],
)
def test_the_last_whole_file_is_put_back(tmp_path, steps, left):
    file, gone = tmp_path / "dvc.lock", threading.Event()
    watch = threading.Thread(target=guard, args=(file, lambda: not gone.is_set(), 0.01))
    watch.start()
    for content in steps:
        file.write_bytes(content)
        time.sleep(0.1)
    gone.set()
    watch.join(10)
    assert (file.read_bytes() if file.exists() else None) == left
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"] * (left is not None)


@pytest.mark.long
def test_a_repro_that_dies_while_it_writes_can_be_repeated(tmp_path):
    root = make_tiny_repository(tmp_path / "repository")
    repro = subprocess.Popen([DVC, "repro", "interactions"], cwd=root, env=ENVIRONMENT)
    wait_until(lambda: any((root / ".dvc" / "tmp").glob("guard-of-*")), 120, "it is guarded")
    wait_until(lambda: (root / LOCK).exists(), 120, "the first stage is recorded")
    repro.kill()
    (root / LOCK).write_bytes(b"")  # as DVC leaves it between emptying and writing
    repro.wait()
    wait_until(lambda: not any((root / ".dvc" / "tmp").glob("guard-of-*")), 30, "the guard is done")
    again = run(DVC, "repro", "interactions", cwd=root)
    assert again.returncode == 0, again.stderr
    assert is_whole((root / LOCK).read_bytes())


def test_a_command_of_its_own_has_no_guard(tmp_path):
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    assert onepiece("--help", cwd=tmp_path).returncode == 0
    assert not list((tmp_path / ".dvc" / "tmp").iterdir())
