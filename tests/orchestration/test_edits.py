"""Edits of the parameter file and of dvc.yaml, while the definitions that they made are in use."""

import shutil

import pytest

from orchestration.edits import Edits
from orchestration.workspace import ROOT, open_workspace
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """With a dvc.yaml of its own."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.setattr("orchestration.workspace.ROOT", tmp_path)
    return open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "artefacts")


@pytest.fixture
def edits(workspace):
    return Edits(workspace)


def test_an_edit_is_found_once(edits, workspace):
    assert not edits.found()
    write_tiny_params(workspace.params_file, automation={"retrain_cron": "1 2 * * *"})
    assert [edits.found() for _ in range(3)] == [True, False, False]


def test_another_date_is_no_edit(edits, workspace):
    workspace.params_file.touch()
    write_tiny_params(workspace.params_file)
    assert not edits.found()


def test_an_edited_pipeline_is_found(edits, workspace):
    pipeline = workspace.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text() + "# one more line\n")
    assert [edits.found(), edits.found()] == [True, False]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("params.yaml", "seed: [", "params.yaml: not valid YAML"),
        ("params.yaml", "seed: 1\n", "params.yaml: "),
        ("params.yaml", None, "params.yaml: no such parameter file"),
        ("dvc.yaml", "stages: [", "dvc.yaml: not a pipeline"),
        ("dvc.yaml", "", "dvc.yaml: not a pipeline"),
    ],
)
def test_what_cannot_be_loaded_is_told_of_once_and_waited_for(
    edits, workspace, caplog, name, text, told
):
    file = workspace.root / name
    whole = file.read_text()
    file.write_text(text) if text is not None else file.unlink()
    assert not any(edits.found() for _ in range(3))
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told in line
    file.write_text(whole)
    assert not edits.found()  # what is loaded stands there again
    file.write_text(f"{whole}\n# mended\n")
    assert edits.found()


def test_a_schedule_that_no_clock_can_follow_is_waited_for(edits, workspace, caplog):
    write_tiny_params(workspace.params_file, automation={"retrain_cron": "weekly"})
    assert not edits.found()
    assert "automation.retrain_cron" in caplog.text
