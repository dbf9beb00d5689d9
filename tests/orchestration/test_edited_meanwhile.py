"""What is edited while an artefact is made, DVC does not note as what it was made from."""

import logging

import pytest

from assets.hashing import HashCache
from model.errors import InputError
from orchestration.dvc_bridge import DvcRecorder, InsideDvc, choose_recorder
from orchestration.dvc_storage import DvcStorage
from tests.orchestration.command import run
from tests.orchestration.tiny_repository import DVC

STAGE = "stages:\n  one:\n    cmd: none\n    params: [seed]\n    outs: [data/one]\n"


@pytest.fixture
def root(tmp_path):
    """A repository with one stage, recorded as made with seed 1."""
    assert run("git", "init", "-q", cwd=tmp_path).returncode == 0
    assert run(DVC, "init", "-q", cwd=tmp_path).returncode == 0
    (tmp_path / "dvc.yaml").write_text(STAGE)
    _make(tmp_path, seed=1)
    DvcRecorder(tmp_path).record("one", lambda: None)
    return tmp_path


def _make(root, seed):
    (root / "params.yaml").write_text(f"seed: {seed}\n")
    (root / "data" / "one").mkdir(parents=True, exist_ok=True)
    (root / "data" / "one" / "value").write_text(str(seed))


def test_it_is_kept_and_not_noted(root, caplog):
    before = (root / "dvc.lock").read_bytes()
    assert b"seed: 1" in before
    _make(root, seed=2)
    (root / "params.yaml").write_text("seed: 3\n")
    with caplog.at_level(logging.WARNING, "onepiece"):
        DvcRecorder(root).record("one", lambda: "other parameters (seed)")
    assert "one: edited meanwhile: other parameters (seed)" in caplog.text
    assert (root / "dvc.lock").read_bytes() == before
    assert DvcStorage(root).holds(HashCache(None).hash_path(root / "data" / "one"))
    _make(root, seed=2)
    DvcRecorder(root).record("one", lambda: None)
    assert b"seed: 2" in (root / "dvc.lock").read_bytes()


@pytest.mark.parametrize(("file", "text"), [("params.yaml", "seed: ["), ("dvc.yaml", "stages: {}")])
def test_what_dvc_can_no_longer_read_is_one_sentence(root, file, text):
    recorder = DvcRecorder(root)
    (root / file).write_text(text)
    with pytest.raises(InputError, match=r"one: DVC says: .*; fix that"):
        recorder.unrecorded(["one"])


def test_inside_dvc_the_stage_fails(root, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "one")
    recorder = choose_recorder(root, own=True)
    assert isinstance(recorder, InsideDvc)
    recorder.record("one", lambda: None)
    with pytest.raises(InputError, match=r"one: edited meanwhile: other code; the same"):
        recorder.record("one", lambda: "other code")
