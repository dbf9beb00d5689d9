"""A journal outlives the writers that are killed over it."""

import signal
import subprocess
import sys
import time

import optuna
import pytest

from assets.tuning.journal import KernelLock, open_journal


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study" / "journal.log"


def _study(file):
    return optuna.create_study(storage=open_journal(file), study_name="one", load_if_exists=True)


def test_half_a_line_of_a_killed_writer_is_removed(file):
    study = _study(file)
    study.tell(study.ask(), 1.0)
    with file.open("a") as journal:
        journal.write('{"op_code": 4, "worker_')
    again = _study(file)
    again.tell(again.ask(), 2.0)
    assert [trial.value for trial in _study(file).trials] == [1.0, 2.0]
    assert file.read_text().endswith("}\n")


def test_a_holder_that_is_killed_holds_nobody_up(file):
    _study(file)
    code = (
        "import pathlib, time\n"
        "from assets.tuning.journal import KernelLock\n"
        f"KernelLock(pathlib.Path({str(file)!r})).acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    lock = KernelLock(file)
    assert lock.acquire()
    lock.release()
    assert time.monotonic() - started < 5  # and not the half minute of Optuna's own lock
