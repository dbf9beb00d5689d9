"""Commands that are printed act on the folder that the user has in view."""

import shlex

import pytest

from orchestration.follow_up import follow_up
from orchestration.workspace import ROOT, open_workspace


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A parameter file and a data folder of one's own, seen from a folder beside them."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = tmp_path / "my params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    return file


def test_nothing_is_added_where_the_defaults_will_do(monkeypatch):
    monkeypatch.chdir(ROOT)
    workspace = open_workspace(ROOT / "params.yaml", ROOT / "data")
    assert follow_up(workspace, "explain", "u 0") == "onepiece explain 'u 0'"


def test_another_file_and_folder_are_named_as_a_shell_takes_them(own):
    workspace = open_workspace(own, own.parent / "here" / "d" / "rb ü")
    command = follow_up(workspace, "explain", "it's")
    words = ["onepiece", "explain", "it's", "--params", str(own), "--data", "d/rb ü"]
    assert shlex.split(command) == words


def test_an_id_that_looks_like_an_option_comes_last(own):
    workspace = open_workspace(own, own.parent / "d")
    words = ["onepiece", "explain", "--params", str(own), "--data", str(own.parent / "d"), "--"]
    assert shlex.split(follow_up(workspace, "explain", "-7")) == [*words, "-7"]


def test_only_what_differs_is_named(own, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert follow_up(open_workspace(ROOT / "params.yaml", own.parent), "ui") == (
        f"onepiece ui --data {own.parent}"
    )
