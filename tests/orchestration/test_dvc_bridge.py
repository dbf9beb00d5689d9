"""DVC's side: a dvc.lock that cannot be read, and a command that is given in another folder."""

import logging

import pytest

from orchestration.dvc_bridge import DvcRecorder, _set_damaged_lock_aside, choose_recorder
from tests.orchestration.command import run
from tests.orchestration.tiny_repository import DVC

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
    assert "dvc.lock: damaged; set aside as dvc.lock.damaged and rewritten" in caplog.text


def test_a_whole_lock_stays_and_none_is_none(tmp_path):
    file = tmp_path / "dvc.lock"
    _set_damaged_lock_aside(file)
    file.write_text(WHOLE)
    _set_damaged_lock_aside(file)
    assert file.read_text() == WHOLE


def test_through_both_doors_dvc_counts_what_lies_in_a_folder(tmp_path, monkeypatch):
    (tmp_path / ".dvc").mkdir()
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert choose_recorder(tmp_path, own=True).counts_folders
    monkeypatch.setenv("DVC_STAGE", "interactions")
    assert choose_recorder(tmp_path, own=True).counts_folders
    assert not choose_recorder(tmp_path, own=False).counts_folders


@pytest.mark.parametrize("where", [".", "other"])
def test_stages_are_found_wherever_the_command_is_given(tmp_path, monkeypatch, where):
    for command in (["git", "init", "-q"], [DVC, "init", "-q"]):
        assert run(*command, cwd=tmp_path).returncode == 0
    one = "cmd: none\n    outs: [data/one]"
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  one:\n    {one}\n")
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / where)
    recorder = DvcRecorder(tmp_path)
    assert recorder.unrecorded(["one"]) == ["one"]
    with recorder.exclusive("one"):
        recorder.record("one", lambda: None)
    assert recorder.unrecorded(["one"]) == []
