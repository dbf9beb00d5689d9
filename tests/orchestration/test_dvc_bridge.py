"""A dvc.lock that cannot be read: a merge conflict, or half a file after a power cut."""

import logging

import pytest

from orchestration.dvc_bridge import _set_damaged_lock_aside

WHOLE = "schema: '2.0'\nstages:\n  raw_data:\n    cmd: x\n"
CONFLICT = "schema: '2.0'\n<<<<<<< HEAD\nstages: {}\n=======\nstages: {a: 1}\n>>>>>>> other\n"


@pytest.mark.parametrize("content", [CONFLICT, "schema: '2.0\n", "\x00\x00"])
def test_a_lock_that_cannot_be_read_is_set_aside(tmp_path, caplog, content):
    file = tmp_path / "dvc.lock"
    file.write_text(content)
    with caplog.at_level(logging.WARNING, "onepiece"):
        _set_damaged_lock_aside(file)
    assert not file.exists()
    assert (tmp_path / "dvc.lock.damaged").read_text() == content
    assert "dvc.lock: damaged; set aside as dvc.lock.damaged and written anew" in caplog.text


def test_a_whole_lock_stays_and_none_is_none(tmp_path):
    file = tmp_path / "dvc.lock"
    _set_damaged_lock_aside(file)
    file.write_text(WHOLE)
    _set_damaged_lock_aside(file)
    assert file.read_text() == WHOLE
