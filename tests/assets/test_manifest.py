"""What a manifest says of the code: the revision, and whether that is all there was."""

import subprocess

import pytest

from assets.manifest import git_state


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
    ],
)
def test_what_differs_from_the_revision_and_may_decide_bytes_is_told(tree, name, dirty):
    assert git_state(tree)["dirty"] is False
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("changed")
    assert git_state(tree)["dirty"] is dirty


def test_outside_git_there_is_no_revision(tmp_path):
    assert git_state(tmp_path) == {"revision": None, "dirty": None}
