"""Lineage files: deterministic, and every edit of them or of what they describe is found."""

import json
from dataclasses import replace

import pytest

from assets.hashing import HashCache
from assets.lineage import (
    LINEAGE_FILE,
    MANIFEST_FILE,
    PAGE_FILE,
    Lineage,
    Recipe,
    content_files,
    differences,
    folder_hash,
)
from model.errors import InputError

RECIPE = Recipe(
    asset="codebook",
    partition=None,
    parents={"fused_embeddings": "1.dir"},
    params={"codebook": {"sizes": [4, 4]}},
    code="2",
    seed=3,
)
HASHES = HashCache(None)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "codes.npy").write_bytes(b"12345")
    (tmp_path / "report.json").write_text("[]")
    Lineage.of(RECIPE, tmp_path, HASHES).write(tmp_path)
    return tmp_path


def test_writing_twice_gives_the_same_bytes_and_reading_gives_it_back(folder):
    before = (folder / LINEAGE_FILE).read_bytes()
    again = Lineage.of(RECIPE, folder, HASHES)
    again.write(folder)
    assert (folder / LINEAGE_FILE).read_bytes() == before
    assert Lineage.read(folder) == again
    assert again.recipe == RECIPE


def test_the_folder_hash_needs_no_second_reading_of_the_files(folder):
    assert folder_hash(folder) == HASHES.hash_path(folder)
    (folder / "codes.npy").unlink()
    assert folder_hash(folder) != HASHES.hash_path(folder)


def test_the_same_content_of_another_recipe_has_another_hash(folder):
    before = folder_hash(folder)
    for other in (RECIPE, replace(RECIPE, params={"codebook": {"sizes": [4, 5]}})):
        Lineage.of(other, folder, HASHES).write(folder)
        assert (folder_hash(folder) == before) == (other == RECIPE)


@pytest.mark.parametrize("name", [MANIFEST_FILE, PAGE_FILE])
def test_what_describes_an_artefact_is_not_content(folder, name):
    (folder / name).write_text("{}")
    assert differences(Lineage.read(folder), content_files(folder, HASHES)) == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "codes.npy").write_bytes(b"12344"), "codes.npy hashes to"),
        (lambda folder: (folder / "codes.npy").unlink(), "codes.npy is missing"),
        (lambda folder: (folder / "new").write_text(""), "new is not in the lineage"),
    ],
)
def test_a_changed_file_is_named(folder, spoil, told):
    spoil(folder)
    (found,) = differences(Lineage.read(folder), content_files(folder, HASHES))
    assert found.startswith(told)


@pytest.mark.parametrize("key", ["seed", "params", "parents", "code", "content", "files"])
def test_an_edited_lineage_file_is_refused(folder, key):
    document = json.loads((folder / LINEAGE_FILE).read_text())
    document[key] = 4 if key == "seed" else {} if key in ("params", "parents", "files") else "x"
    (folder / LINEAGE_FILE).write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged or edited"):
        Lineage.read(folder)


def test_a_file_that_is_no_lineage_is_refused(folder):
    (folder / LINEAGE_FILE).write_text('["x"]')
    with pytest.raises(InputError, match="damaged or edited"):
        Lineage.read(folder)
