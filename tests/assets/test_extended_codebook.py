"""An ID that a run has given out moves in no later run, though both extend the same copy."""

import shutil

import pytest

from assets.codebook import _require_ids_hold
from assets.lineage import Lineage, Recipe
from model.errors import InputError
from model.tokenizer.codebook import Codebook
from orchestration.workspace import open_workspace
from tests.model.tokenizer.test_growth import build
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "revision_0"
    build(list(range(120))).save(folder)
    return folder


@pytest.fixture(scope="module")
def extended(published) -> Codebook:
    return build(list(range(170)), frozen_from=str(published))


@pytest.fixture
def workspace(extended, tmp_path):
    """In its data folder stands the first extension."""
    workspace = open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")
    folder = workspace.folder("codebook")
    extended.save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    return workspace


def test_a_second_extension_of_the_same_copy_is_refused(published, workspace):
    made = build(list(range(220)), frozen_from=str(published))
    folder = workspace.folder("codebook")
    message = (
        rf"^codebook\.frozen_from: {folder} is revision 1 of generation {made.generation}, and "
        rf"extending {published} \(revision 0\) again would move [1-9]\d* of its IDs, lose 0 and "
        rf"add 50; keep it by `cp -r {folder} codebook_revision_1` and name that copy"
    )
    with pytest.raises(InputError, match=message):
        _require_ids_hold(made, workspace, str(published))


def test_an_item_that_only_the_extension_knew_would_lose_its_id(published, workspace):
    made = build(list(range(160)), frozen_from=str(published))
    with pytest.raises(InputError, match=r"lose 10 and add 0"):
        _require_ids_hold(made, workspace, str(published))


def test_one_revision_stands_for_one_set_of_ids(published, workspace):
    """None moves where any number may share an ID, yet both would be called revision 1."""
    folder = workspace.folder("codebook")
    shutil.rmtree(folder)
    build(list(range(170)), frozen_from=str(published), reassignment="none").save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    made = build(list(range(220)), frozen_from=str(published), reassignment="none")
    with pytest.raises(InputError, match="would move 0 of its IDs, lose 0 and add 50"):
        _require_ids_hold(made, workspace, str(published))


def test_the_same_items_may_be_extended_again_whatever_else_has_changed(published, workspace):
    for changes in ({}, {"neighbors": 3}, {"iterations": 1}):
        made = build(list(range(170)), frozen_from=str(published), **changes)
        _require_ids_hold(made, workspace, str(published))


def test_what_extends_a_copy_of_the_extension_may_take_its_place(workspace, tmp_path):
    shutil.copytree(workspace.folder("codebook"), tmp_path / "copy")
    made = build(list(range(220)), frozen_from=str(tmp_path / "copy"))
    assert made.revision == 2
    _require_ids_hold(made, workspace, str(tmp_path / "copy"))


def test_another_generation_and_what_was_given_to_nobody_bind_no_one(published, workspace):
    made = build(list(range(220)), frozen_from=str(published))
    folder = workspace.folder("codebook")
    workspace.note_refusal("codebook", None, "too few codes")
    _require_ids_hold(made, workspace, str(published))
    workspace.note_refusal("codebook", None, None)
    (folder / "codes.npy").write_bytes(b"other codes")
    _require_ids_hold(made, workspace, str(published))
    shutil.rmtree(folder)
    build(list(range(120)), iterations=1).save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    _require_ids_hold(made, workspace, str(published))
