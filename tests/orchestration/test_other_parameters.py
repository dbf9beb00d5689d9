"""Another parameter file in the repository's own data folder is told of, for DVC does not know."""

import logging

import pytest

from assets.workspace import Workspace
from model.params import Params
from orchestration import materialization, ui
from orchestration.workspace import ROOT


@pytest.mark.parametrize(
    ("params_file", "data", "told"),
    [("my.yaml", "data", True), ("my.yaml", "elsewhere", False), ("params.yaml", "data", False)],
)
def test_what_dvc_recorded_is_not_replaced_in_silence(
    tmp_path, monkeypatch, caplog, params_file, data, told
):
    caplog.set_level(logging.INFO, "onepiece")
    (tmp_path / "dvc.lock").write_text("")
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    monkeypatch.setattr(materialization, "outdated", lambda workspace, targets: targets)
    monkeypatch.setattr(materialization, "run", lambda *given: None)
    workspace = Workspace(
        root=tmp_path,
        params_file=tmp_path / params_file,
        params=Params.load(ROOT / "params.yaml"),
        data=tmp_path / data,
    )
    assert materialization.materialize(workspace, ["raw_data"], only=False, tags={})
    assert ("what dvc.lock records; give --data FOLDER" in caplog.text) == told


def test_the_user_interface_says_it_before_it_starts(tmp_path, monkeypatch, caplog):
    (tmp_path / "dvc.lock").write_text("")
    monkeypatch.setattr(ui.os, "execve", lambda *given: None)
    params = Params.load(ROOT / "params.yaml")
    ui.serve(Workspace(tmp_path, tmp_path / "my.yaml", params, tmp_path / "data"), port=0)
    assert "my.yaml: its artefacts replace" in caplog.text
