"""Which model is explained, and where the page goes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from model.dataset.interactions import Interactions
from model.errors import InputError
from orchestration import explanation
from orchestration.__main__ import app
from orchestration.explanation import explain, require_page, write_page
from tests.model.inference.fakes import random_interactions
from tests.model.small_network import pipeline_params

MODEL = ("recommender_checkpoint", "codebook", "evaluation_report")


@pytest.fixture
def tested_user(finished):
    events = Interactions.load(finished.workspace.folder("interactions"))
    return events.raw_user_ids[int((events.test_event >= 0).argmax())].as_py()


def test_a_submission_is_the_champions_and_a_test_the_newest_models(copied, tested_user):
    home = copied.data / "champion"
    shutil.move(home, copied.data / "elsewhere")
    assert explain(copied.workspace, tested_user, "test").target is not None
    with pytest.raises(InputError, match="materialise champion"):
        explain(copied.workspace, tested_user, "submission")
    shutil.move(copied.data / "elsewhere", home)
    for name in MODEL:
        shutil.rmtree(copied.data / name)
    assert explain(copied.workspace, tested_user, "submission").target is None
    with pytest.raises(InputError, match="evaluation_report"):
        explain(copied.workspace, tested_user, "test")


def test_the_command_prints_json_or_writes_a_page(finished, tested_user, tmp_path):
    where = ["--params", str(finished.params_file), "--data", str(finished.data)]
    done = CliRunner().invoke(app, ["explain", tested_user, "--json", *where])
    expected = explain(finished.workspace, tested_user, "submission").to_json()
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))
    assert len(expected["levels"]) == 1
    page = tmp_path / "page.html"
    both = CliRunner().invoke(app, ["explain", tested_user, "--json", "--page", str(page), *where])
    assert both.exit_code == 2
    assert "give one of --json and --page" in both.stderr
    assert not page.exists()


@pytest.mark.parametrize(
    ("part", "asset"), [("submission", "submission"), ("test", "evaluation_report")]
)
def test_what_was_made_otherwise_than_it_is_explained_is_said(
    finished, tested_user, caplog, part, asset
):
    explain(finished.workspace, tested_user, part)
    assert not caplog.messages
    workspace = finished.workspace
    cascade = workspace.params.cascade.model_copy(update={"num_sids": 3})
    edited = replace(workspace, params=workspace.params.model_copy(update={"cascade": cascade}))
    assert explain(edited, tested_user, part).settings["num_sids"] == 3
    (said,) = caplog.messages
    assert str(workspace.current_folder(asset)) in said
    assert "other parameters (cascade.num_sids)" in said


@pytest.mark.parametrize(("user", "reason"), [("typo", "no user 'typo'"), (None, "no test target")])
def test_who_cannot_be_explained_is_refused_before_the_catalogue_is_laid_out(
    monkeypatch, user, reason
):
    events = random_interactions(40, 160)
    events = replace(events, test_event=np.full_like(events.test_event, -1))
    monkeypatch.setattr(explanation, "_asked", lambda *given: (Path("model"), 0.1))
    monkeypatch.setattr(explanation, "_warn_of_another", lambda *given: None)
    inputs = SimpleNamespace(interactions=events)
    monkeypatch.setattr(explanation.InferenceInputs, "load", lambda *given: inputs)
    monkeypatch.setattr(explanation, "prepare_recommender", lambda *given: pytest.fail("laid out"))
    workspace: Any = SimpleNamespace(params=pipeline_params(), data=Path("data"))
    with pytest.raises(InputError, match=reason):
        explain(workspace, user or events.raw_user_ids[0].as_py(), "test")


def test_a_folder_is_no_place_for_a_page(tmp_path):
    with pytest.raises(InputError, match="a folder; name a file"):
        require_page(tmp_path)
    require_page(tmp_path / "page.html")
    with pytest.raises(InputError, match="the name is too long"):
        require_page(tmp_path / f"{'x' * 225}.html")  # valid, but not that of the partial file
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"/file: a file, where a folder is needed"):
        require_page(tmp_path / "file" / "page.html")


def test_a_file_system_that_takes_no_page_is_one_sentence(monkeypatch):
    monkeypatch.setattr(explanation, "as_page", lambda found: "page")
    found: Any = None
    with pytest.raises(InputError, match=r"^/proc/page.html: cannot be written \(.*choose another"):
        write_page(Path("/proc/page.html"), found)
