"""A submission that is damaged is made again whole: recommendations, manifest and page."""

import json
import os

import pytest

from assets.workspace import SUBMISSION


def _cut_recommendations(folder):
    os.truncate(folder / "result.json", 100)


def _cut_manifest(folder):
    os.truncate(folder / "manifest.json", 100)


def _edit_lineage(folder):
    document = json.loads((folder / "lineage.json").read_text())
    document["seed"] += 1
    (folder / "lineage.json").write_text(json.dumps(document))


def _lose_page(folder):
    (folder / "lineage.html").unlink()


DAMAGES = (_cut_recommendations, _cut_manifest, _edit_lineage, _lose_page)


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_noticed(copied, damage):
    damage(copied.workspace.current_folder(SUBMISSION))
    planned = copied.onepiece("materialize", "--dry-run").stdout.splitlines()
    assert [line.split()[1] for line in planned if line.startswith("made")] == ["submission"]


def test_it_is_made_again(copied):
    folder = copied.workspace.current_folder(SUBMISSION)
    whole = (folder / "result.json").read_bytes()
    for damage in DAMAGES:
        damage(folder)
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    assert copied.workspace.current_folder(SUBMISSION) == folder
    assert (folder / "result.json").read_bytes() == whole
    verified = copied.onepiece("verify")
    assert verified.returncode == 0, verified.stdout
    assert "everything: up to date" in copied.onepiece("materialize").stderr
