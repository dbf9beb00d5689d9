"""What a rebuild puts in place instead of making it: found by hash, or refused by name."""

import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest

from assets.lineage import MANIFEST_FILE
from assets.manifest_file import manifest_hash, read_manifest
from assets.published_ids import require_codebook_possible
from assets.workspace import SUBMISSION
from model.artifact import write_json
from model.dataset.interactions import Interactions
from model.errors import InputError
from model.params import Params
from orchestration.dvc_storage import DvcStorage
from orchestration.rebuild_plan import RebuildPlan
from orchestration.rebuilding import _parameters, _put_in_place, rebuild
from orchestration.verification import problem_on_disk
from orchestration.workspace import ROOT
from tests.orchestration.conftest import World


def _place(world, target, *taken):
    workspace = world.workspace
    manifest = read_manifest(workspace.current_folder(SUBMISSION))
    plan = RebuildPlan(frozenset(taken), targets=(), why=())
    _put_in_place(workspace, manifest, DvcStorage(target), plan, target)
    return manifest["artifacts"]


def test_a_champion_of_an_earlier_run_is_taken_whole_and_named_champion(copied, tmp_path):
    target = tmp_path / "target"
    artifacts = _place(copied, target, "champion")
    (name,) = [path for path in artifacts if path.startswith("champion/")]
    placed = World(copied.params_file, target).workspace
    assert problem_on_disk(placed, name, artifacts[name]["hash"]) is None
    assert placed.input_folder("champion") == placed.current_folder("champion") == target / name
    assert [path.name for path in target.iterdir()] == ["champion"]


def test_every_partition_is_taken(copied, tmp_path):
    _place(copied, tmp_path / "target", "modality_embeddings")
    for key in ("81", "82"):
        assert (tmp_path / "target" / "modality_embeddings" / key / "lineage.json").exists()


@pytest.mark.parametrize("name", ["interactions", "champion"])
def test_what_nobody_has_any_more_is_refused_by_name(copied, tmp_path, name):
    folder = copied.workspace.input_folder(name)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=rf"^[0-9a-f]{{12}}: {name}.* is neither in the data"):
        _place(copied, tmp_path / "target", name)


def test_what_was_made_for_one_submission_decides_nothing_of_another(copied, tmp_path, monkeypatch):
    """As its champion would, were it in the same data folder; the same again finds all of it."""
    home = copied.data / SUBMISSION
    made = copied.workspace.current_folder(SUBMISSION)
    for name in ("a" * 12, "b" * 12):
        shutil.copytree(made, home / name)
        manifest = {**read_manifest(made), "id": name, "git": {"revision": "f" * 40}}
        write_json(home / name / MANIFEST_FILE, {**manifest, "hash": manifest_hash(manifest)})
    found = []

    def materialize(code, targets, params_file, data):
        found.append((data / "champion").exists())
        shutil.copytree(home, data / SUBMISSION, dirs_exist_ok=True)
        shutil.copytree(copied.data / "champion", data / "champion", dirs_exist_ok=True)

    plan = RebuildPlan(frozenset(), targets=(), why=())
    monkeypatch.setattr("orchestration.rebuilding._checkout", lambda *where: nullcontext(ROOT))
    monkeypatch.setattr("orchestration.rebuilding.plan_rebuild", lambda *what, **lost: plan)
    monkeypatch.setattr("orchestration.rebuilding._materialize", materialize)
    for name in ("a" * 12, "b" * 12, "a" * 12):
        rebuild(copied.workspace, name, tmp_path / "rebuilt")
    assert found == [False, False, True]


def test_a_codebook_that_is_taken_needs_nothing_of_what_it_extends(finished, tmp_path):
    """Nor is its encoder refused because all items would be new to a generation."""
    params = finished.workspace.values
    extended = {**params["codebook"], "frozen_from": str(tmp_path / "gone"), "sizes": [4, 4]}
    params = {**params, "codebook": extended}

    def made_with(*taken):
        plan = RebuildPlan(frozenset(taken), targets=(), why=())
        return Params.model_validate(_parameters(params, None, plan))

    def ask(*taken):
        workspace = replace(finished.workspace, params=made_with(*taken))
        require_codebook_possible(workspace, Interactions.load(finished.data / "interactions"))

    with pytest.raises(InputError, match="gone"):
        ask()
    ask("codebook")
    assert (
        made_with("codebook").raw_data == made_with().raw_data == finished.workspace.params.raw_data
    )
