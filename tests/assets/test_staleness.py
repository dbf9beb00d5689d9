"""Why an artefact is made again is said in the words of what changed."""

import shutil
from dataclasses import replace

import pytest

from assets.lineage import LINEAGE_FILE, Lineage, Recipe
from assets.staleness import edited_since, is_current, require_recorded_source, why_outdated
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params
from orchestration.workspace import ROOT

RECIPE = Recipe(
    asset="interactions",
    partition=None,
    parents={"raw_data": "1.dir"},
    params={"interactions": {"split": {"strategy": "leave_one_out", "validation_fraction": 0.1}}},
    code="c",
    seed=0,
)


@pytest.fixture
def workspace(tmp_path):
    params = Params.load(ROOT / "params.yaml")
    return Workspace(ROOT, ROOT / "params.yaml", params, tmp_path / "data")


@pytest.fixture
def made(workspace):
    folder = workspace.folder("interactions")
    folder.mkdir(parents=True)
    (folder / "events.npy").write_bytes(b"0")
    Lineage.of(RECIPE, folder, workspace.hashes).write(folder)
    return folder


def test_what_is_as_it_was_is_current(workspace, made):
    assert is_current(workspace, RECIPE)


def test_what_was_never_made(workspace):
    assert why_outdated(workspace, RECIPE) == "not there yet"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parents": {"raw_data": "2.dir"}}, "made from another raw_data"),
        ({"parents": {"raw_data": "1.dir", "source": "s"}}, "other raw files"),
        (
            {"params": {"interactions": {"split": {"strategy": "leave_one_out"}}}},
            "other parameters (interactions.split.validation_fraction)",
        ),
        (
            {"params": {**RECIPE.params, **dict.fromkeys("abc", 1)}},
            "other parameters (a, b, c)",
        ),
        (
            {"params": {**RECIPE.params, **dict.fromkeys("abcde", 1)}},
            "other parameters (a, b, c and 2 more)",
        ),
        ({"params": {**RECIPE.params, "a": None}}, "other parameters (a)"),
        ({"code": "d"}, "other code"),
        ({"seed": 1}, "another seed"),
        ({"code": "d", "seed": 1}, "other code, another seed"),
        ({"asset": "raw_data"}, "its lineage.json is of interactions"),
    ],
)
def test_what_changed_is_named(workspace, made, change, told):
    wanted = replace(RECIPE, **change)
    made.rename(workspace.folder(wanted.asset))
    assert why_outdated(workspace, wanted) == told
    assert not is_current(workspace, wanted)


def test_the_vectors_of_another_modality_are_named(workspace):
    folder = workspace.folder("modality_embeddings", "82")
    folder.mkdir(parents=True)
    of_81 = replace(RECIPE, asset="modality_embeddings", partition="81")
    Lineage.of(of_81, folder, workspace.hashes).write(folder)
    told = why_outdated(workspace, replace(of_81, partition="82"))
    assert told == "its lineage.json is of modality_embeddings 81"


def test_damage_is_named(workspace, made):
    (made / "events.npy").unlink()
    assert why_outdated(workspace, RECIPE) == "damaged: events.npy is missing"
    (made / LINEAGE_FILE).write_text("{}")
    assert "lineage.json: damaged or edited" in why_outdated(workspace, RECIPE)


@pytest.fixture
def reading(workspace, tmp_path):
    """A workspace whose parameter file and code may be edited, and what it would make."""
    params_file = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params_file)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for path in workspace.stages["raw_data"].code:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    reading = replace(workspace, root=tmp_path, params_file=params_file)
    return reading, reading.recipe("raw_data")


@pytest.mark.parametrize(
    ("file", "text", "more", "told"),
    [
        ("params.yaml", "num_heads: 4", "num_heads: 8", None),  # another stage's
        ("params.yaml", "seed: 42", "seed: 43", "other parameters (seed), another seed"),
        ("params.yaml", "seed: 42", "seeds: 42", "params.yaml: "),
        ("assets/raw_data.py", "", "more = 1", "other code"),
    ],
)
def test_what_was_edited_since_it_was_read(reading, file, text, more, told):
    workspace, recipe = reading
    assert edited_since(workspace, recipe) is None
    edited = workspace.root / file
    edited.write_text(edited.read_text().replace(text, more, 1))
    found = edited_since(workspace, recipe)
    assert found is None if told is None else told in found


def test_what_was_read_of_other_raw_files_than_were_recorded_is_refused(workspace, tmp_path):
    source = tmp_path / "raw"
    source.mkdir()
    (source / "my.inter").write_text("as delivered")
    given = workspace.params.raw_data.model_copy(
        update={"format": "recbole", "source": str(source)}
    )
    params = workspace.params.model_copy(update={"raw_data": given})
    reading = replace(workspace, params=params, data=tmp_path / "data")
    folder = reading.folder("raw_data")
    folder.mkdir(parents=True)
    Lineage.of(reading.recipe("raw_data"), folder, reading.hashes).write(folder)
    require_recorded_source(reading, "interactions")
    (source / "my.inter").write_text("as improved.")  # of the same size
    require_recorded_source(reading, "item_statistics")  # which reads no raw files
    with pytest.raises(InputError, match=r"raw: changed since raw_data was materialised"):
        require_recorded_source(reading, "interactions")
