"""What a manifest says of the code (the revision, and whether that is all) and of the codebook."""

import subprocess

import numpy as np
import pytest

from assets.lineage import Lineage, Recipe
from assets.manifest import ancestors, git_state
from model.artifact import read_json, write_json
from model.tokenizer.codebook import Codebook
from orchestration.workspace import open_workspace
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture
def tree(tmp_path):
    for name in ("params.yaml", "dvc.lock", "model/network.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("committed")
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("dvc.lock", False),  # an output
        ("tour/params.yaml", False),  # another world beside the code
        ("params.yaml", True),
        ("model/network.py", True),
        ("model/new.py", True),
        ("assets/new/new.py", True),
        ('model/ü "b".py', True),  # which git would quote
    ],
)
def test_what_differs_from_the_revision_and_may_decide_bytes_is_told(tree, name, dirty):
    assert git_state(tree)["dirty"] is False
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("changed")
    assert git_state(tree)["dirty"] is dirty


def test_outside_git_there_is_no_revision(tmp_path):
    assert git_state(tmp_path) == {"revision": None, "dirty": None}


def test_the_codebook_is_named_by_generation_and_revision_though_it_extends_none(tmp_path):
    workspace = open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")
    folder = workspace.folder("codebook")
    codebook = Codebook.of(
        np.array([[0, 0], [1, 2]], np.int32), [np.eye(2, dtype=np.float32)] * 2, []
    )
    codebook.save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    entry = ancestors(workspace, {"codebook": ""})["codebook"]
    assert (entry["generation"], entry["revision"]) == (codebook.generation, 0)
    assert entry["semantic_ids"] == codebook.semantic_ids
    facts = read_json(folder / "codebook.json")
    write_json(folder / "codebook.json", {"revision": facts["revision"]})  # as older ones are
    assert "generation" not in ancestors(workspace, {"codebook": ""})["codebook"]
