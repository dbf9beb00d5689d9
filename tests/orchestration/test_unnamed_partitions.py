"""A partition that the parameters no longer name is not counted by DVC, and not lost."""

from dataclasses import replace

import pytest
import yaml

from assets.aside import bring_back, set_aside_unnamed
from assets.recorder import NoRecorder
from model.params import Params


class _Counting(NoRecorder):
    counts_folders = True


def _without_the_first(workspace):
    values = workspace.params.model_dump(mode="json")
    dropped, *kept = values["modality_embeddings"]["modalities"]
    values["modality_embeddings"]["modalities"] = kept
    values["network"]["features"]["modalities"] = kept
    values["coverage_report"]["thresholds"].pop(dropped, None)
    file = workspace.data.parent / "edited.yaml"
    file.write_text(yaml.safe_dump(values))
    params = Params.load(file)
    return dropped, replace(workspace, params_file=file, params=params, recorder=_Counting())


@pytest.fixture
def stage(copied):
    return copied.workspace.stages["modality_embeddings"]


def test_it_goes_aside_and_comes_back_as_it_was(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    folder = workspace.folder("modality_embeddings")
    before = {path.name: path.read_bytes() for path in (folder / dropped).iterdir()}
    others = {path.name for path in folder.iterdir()} - {dropped}
    (folder / "notes").mkdir()  # somebody's own, without a lineage
    for _ in range(2):
        set_aside_unnamed(workspace, stage)
        assert {path.name for path in folder.iterdir()} == others | {"notes"}
    bring_back(copied.workspace, "modality_embeddings", dropped)
    assert {path.name: path.read_bytes() for path in (folder / dropped).iterdir()} == before


def test_a_newer_one_of_the_same_name_stays_where_it_is(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    folder = workspace.folder("modality_embeddings", dropped)
    set_aside_unnamed(workspace, stage)
    folder.mkdir()
    bring_back(workspace, "modality_embeddings", dropped)
    assert list(folder.iterdir()) == []


def test_what_a_newer_run_may_have_made_stays(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    older = replace(workspace, params_file=copied.params_file)
    set_aside_unnamed(older, stage)
    assert workspace.folder("modality_embeddings", dropped).exists()
    half = workspace.params_file.read_text().replace("seed:", "seed")
    workspace.params_file.write_text(half)
    set_aside_unnamed(workspace, stage)
    assert workspace.folder("modality_embeddings", dropped).exists()


def test_where_nobody_counts_folders_it_stays(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    set_aside_unnamed(replace(workspace, recorder=NoRecorder()), stage)
    assert workspace.folder("modality_embeddings", dropped).exists()


@pytest.mark.long
def test_a_run_that_names_it_again_reuses_it(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    set_aside_unnamed(workspace, stage)
    done = copied.onepiece("materialize")
    assert f"modality_embeddings@{dropped}: unchanged, reused" in done.stderr
    assert workspace.folder("modality_embeddings", dropped).exists()
