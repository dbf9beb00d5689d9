"""A partition that the parameters no longer name is not counted by DVC, and not lost."""

from dataclasses import replace

import pytest

from assets.recorder import NoRecorder


class _Counting(NoRecorder):
    counts_folders = True


def _without_the_first(workspace):
    modalities = workspace.params.modality_embeddings.modalities
    chosen = workspace.params.modality_embeddings.model_copy(update={"modalities": modalities[1:]})
    params = workspace.params.model_copy(update={"modality_embeddings": chosen})
    return modalities[0], replace(workspace, params=params, recorder=_Counting())


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
        workspace.set_aside_unnamed(stage)
        assert {path.name for path in folder.iterdir()} == others | {"notes"}
    copied.workspace.bring_back("modality_embeddings", dropped)
    assert {path.name: path.read_bytes() for path in (folder / dropped).iterdir()} == before


def test_a_newer_one_of_the_same_name_stays_where_it_is(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    folder = workspace.folder("modality_embeddings", dropped)
    workspace.set_aside_unnamed(stage)
    folder.mkdir()
    workspace.bring_back("modality_embeddings", dropped)
    assert list(folder.iterdir()) == []


def test_where_nobody_counts_folders_it_stays(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    replace(workspace, recorder=NoRecorder()).set_aside_unnamed(stage)
    assert workspace.folder("modality_embeddings", dropped).exists()


@pytest.mark.long
def test_a_run_that_names_it_again_reuses_it(copied, stage):
    dropped, workspace = _without_the_first(copied.workspace)
    workspace.set_aside_unnamed(stage)
    done = copied.onepiece("materialize")
    assert f"modality_embeddings@{dropped}: unchanged, reused" in done.stderr
    assert workspace.folder("modality_embeddings", dropped).exists()
