"""An ID that a run has given out moves in no later run, though both extend the same copy."""

import shutil
from dataclasses import replace

import pytest

from assets.lineage import Lineage, Recipe
from assets.published_ids import require_codebook_possible, require_ids_hold
from model.errors import InputError
from model.tokenizer.codebook import Codebook
from orchestration.workspace import open_workspace
from tests.model.tokenizer.test_growth import VECTORS, build, world
from tests.model.tokenizer.worlds import codebook_params
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "revision_0"
    build(list(range(120))).save(folder)
    return folder


@pytest.fixture(scope="module")
def extended(published) -> Codebook:
    return build(list(range(170)), frozen_from=str(published))


def extending(workspace, published):
    """The same workspace; its codebook, of the test's sizes, extends what was published there."""
    codebook = codebook_params(frozen_from=str(published))
    network = workspace.params.network.model_copy(update={"dim": VECTORS.shape[1]})
    params = workspace.params.model_copy(update={"codebook": codebook, "network": network})
    return replace(workspace, params=params)


@pytest.fixture
def workspace(extended, published, tmp_path):
    """In its data folder stands the first extension."""
    workspace = open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")
    workspace = extending(workspace, published)
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
        require_ids_hold(made, workspace)


def test_an_item_that_only_the_extension_knew_would_lose_its_id(published, workspace):
    made = build(list(range(160)), frozen_from=str(published))
    with pytest.raises(InputError, match=r"lose 10 and add 0"):
        require_ids_hold(made, workspace)


def test_one_revision_stands_for_one_set_of_ids(published, workspace):
    """None moves where any number may share an ID, yet both would be called revision 1."""
    folder = workspace.folder("codebook")
    shutil.rmtree(folder)
    build(list(range(170)), frozen_from=str(published), reassignment="none").save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    made = build(list(range(220)), frozen_from=str(published), reassignment="none")
    with pytest.raises(InputError, match="would move 0 of its IDs, lose 0 and add 50"):
        require_ids_hold(made, workspace)


def test_the_same_items_may_be_extended_again_whatever_else_has_changed(published, workspace):
    for changes in ({}, {"neighbors": 3}, {"iterations": 1}):
        made = build(list(range(170)), frozen_from=str(published), **changes)
        require_ids_hold(made, workspace)


def test_what_extends_a_copy_of_the_extension_may_take_its_place(workspace, tmp_path):
    shutil.copytree(workspace.folder("codebook"), tmp_path / "copy")
    made = build(list(range(220)), frozen_from=str(tmp_path / "copy"))
    assert made.revision == 2
    require_ids_hold(made, extending(workspace, tmp_path / "copy"))


def test_another_generation_and_what_was_given_to_nobody_bind_no_one(published, workspace):
    made = build(list(range(220)), frozen_from=str(published))
    folder = workspace.folder("codebook")
    judged = Lineage.read(folder)
    workspace.refusals.note("codebook", judged, "too few codes")
    require_ids_hold(made, workspace)
    workspace.refusals.note("codebook", judged, None)
    (folder / "codes.npy").write_bytes(b"other codes")
    require_ids_hold(made, workspace)
    shutil.rmtree(folder)
    build(list(range(120)), iterations=1).save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    require_ids_hold(made, workspace)


def _possible(workspace, items):
    require_codebook_possible(workspace, world(list(items))[1])


def test_ids_alone_tell_before_the_encoder_is_trained_that_a_copy_is_too_old(workspace, tmp_path):
    with pytest.raises(InputError, match=r"\(revision 0\) again would lose 0 and add 50; keep it"):
        _possible(workspace, range(220))
    with pytest.raises(InputError, match="again would lose 10 and add 0; keep it"):
        _possible(workspace, range(160))
    _possible(workspace, range(170))  # as they stand there
    shutil.copytree(workspace.folder("codebook"), tmp_path / "copy")
    _possible(extending(workspace, tmp_path / "copy"), range(220))


def test_that_another_encoder_may_move_ids_is_told_before_it_is_trained(
    published, workspace, tmp_path, caplog
):
    folder = workspace.folder("codebook")
    _possible(workspace, range(170))
    assert f"{published} (revision 0) lacks 50 items of {folder}; another encoder" in caplog.text
    assert f"keep it by `cp -r {folder} codebook_revision_1` and name that copy" in caplog.text
    caplog.clear()
    shutil.copytree(folder, tmp_path / "copy")
    _possible(extending(workspace, tmp_path / "copy"), range(170))
    assert caplog.text == ""


def test_a_revision_without_a_new_item_binds_no_one(published, workspace, caplog):
    folder = workspace.folder("codebook")
    shutil.rmtree(folder)
    build(list(range(120)), frozen_from=str(published)).save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    caplog.clear()
    _possible(workspace, range(120))
    assert caplog.text == ""


def test_two_re_assignments_of_one_generation_are_told_apart_before_the_encoder_is_trained(
    workspace, tmp_path
):
    """The copy was built one way; what stands there, of the same name and revision, another."""
    copy, folder = tmp_path / "copy", workspace.folder("codebook")
    build(list(range(120)), reassignment="paper").save(copy)
    shutil.rmtree(folder)
    build(list(range(120)), reassignment="exact").save(folder)
    Lineage.of(Recipe("codebook", None, {}, {}, "", 0), folder, workspace.hashes).write(folder)
    message = (
        rf"{folder} is revision 0 of generation .* extending {copy} \(revision 0\) again would "
        r"move [1-9]\d* of its IDs, lose 0 and add 50; keep it by"
    )
    with pytest.raises(InputError, match=message):
        _possible(extending(workspace, copy), range(170))


def test_the_folder_itself_is_no_copy_and_that_is_said_before_the_encoder_is_trained(workspace):
    folder = workspace.folder("codebook")
    with pytest.raises(InputError, match="would be replaced by the codebook made from it; copy"):
        _possible(extending(workspace, folder), range(170))
