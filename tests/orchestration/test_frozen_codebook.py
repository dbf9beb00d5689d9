"""A codebook that extends a published one is made again when the published one changes."""

import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from assets.manifest import ancestors
from model.artifact import read_json, write_json
from model.errors import InputError
from orchestration.verification import verify


@pytest.fixture
def published(copied, tmp_path):
    """A copy of the world's codebook, which the parameters name."""
    shutil.copytree(copied.data / "codebook", tmp_path / "published")
    _freeze(copied, tmp_path / "published")
    return tmp_path / "published"


def _freeze(world, folder):
    values = yaml.safe_load(world.params_file.read_text())
    values["codebook"]["frozen_from"] = str(folder)
    world.params_file.write_text(yaml.safe_dump(values, sort_keys=False))


def _recipe(world):
    return world.workspace.recipe("codebook")


def _frozen_parents(world):
    return [name for name in _recipe(world).parents if name.startswith("frozen_codebook/")]


def test_without_a_published_one_nothing_is_added_to_the_recipe(finished):
    known = read_json(finished.data / "codebook" / "lineage.json")
    assert _recipe(finished).parents == known["parents"]
    assert not any("frozen" in name for name in known["parents"])


def test_the_recipe_names_generation_revision_and_content(copied, published):
    generation = read_json(published / "codebook.json")["generation"]
    assert _frozen_parents(copied) == [f"frozen_codebook/{generation}/revision_0"]
    facts = read_json(published / "codebook.json")
    write_json(published / "codebook.json", facts | {"revision": 1})
    assert _frozen_parents(copied) == [f"frozen_codebook/{generation}/revision_1"]
    before = _recipe(copied).parents
    (published / "codes.npy").write_bytes(b"other codes")
    after = _recipe(copied).parents
    assert after.keys() == before.keys() and after != before


@pytest.mark.long
def test_another_codebook_in_the_named_folder_makes_it_stale(copied, published):
    again = ("--only", "codebook")
    assert "codebook: made in" in copied.onepiece("materialize", *again).stderr
    assert "codebook: unchanged" in copied.onepiece("materialize", *again).stderr
    shutil.rmtree(published)
    shutil.copytree(copied.data / "codebook", published)  # revision 1 now
    done = copied.onepiece("materialize", *again)
    assert "codebook: made in" in done.stderr, done.stderr
    assert read_json(copied.data / "codebook" / "codebook.json")["revision"] == 2


@pytest.mark.long
def test_an_extension_is_not_replaced_by_one_that_gives_its_ids_to_others(copied, published):
    """The copy is changed: each of its IDs is another item's."""
    again = ("--only", "codebook")
    assert copied.onepiece("materialize", *again).returncode == 0
    standing = (copied.data / "codebook" / "codes.npy").read_bytes()
    table = pq.read_table(published / "published.parquet")
    turned_round = table["raw_id"].combine_chunks()[::-1]
    table = table.set_column(0, "raw_id", turned_round)
    pq.write_table(table, published / "published.parquet")
    done = copied.onepiece("materialize", *again)
    assert done.returncode != 0
    assert "codebook is revision 1 of generation" in done.stderr
    assert (copied.data / "codebook" / "codes.npy").read_bytes() == standing
    shutil.rmtree(copied.data / "codebook")
    assert copied.onepiece("materialize", *again).returncode == 0


def test_its_own_folder_is_refused_before_it_is_overwritten(copied):
    _freeze(copied, copied.data / "codebook")
    told = r"^codebook\.frozen_from: .*/codebook would be replaced by .*"
    with pytest.raises(InputError, match=told):
        _recipe(copied)
    (copied.data / "link").symlink_to(copied.data / "codebook")
    _freeze(copied, copied.data / "link")
    with pytest.raises(InputError, match="copy it out of the data folder first"):
        _recipe(copied)


def test_a_folder_without_a_codebook_is_refused_with_its_name(copied, tmp_path):
    _freeze(copied, tmp_path / "none")
    with pytest.raises(InputError, match=r"none of .*params\.yaml holds no codebook; name a copy"):
        _recipe(copied)


@pytest.mark.parametrize("facts", [{"generation": "g1"}, [1, 2]])
def test_a_codebook_without_a_generation_is_refused_with_its_file(copied, published, facts):
    write_json(published / "codebook.json", facts)
    with pytest.raises(InputError, match=r"codebook\.json: names no generation and revision"):
        _recipe(copied)


@pytest.mark.long
def test_a_submission_shows_and_verifies_what_its_codebook_extends(copied, published):
    done = copied.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    (name,) = _frozen_parents(copied)
    assert name in copied.onepiece("lineage").stdout
    assert name in ancestors(copied.workspace, {"codebook": ""})["codebook"]["parents"]
    findings = {found.path: found.problem for found in verify(copied.workspace, None)}
    assert findings[str(published)] is None
    assert set(findings.values()) == {None}
    (published / "report.json").write_text("[]")
    findings = {found.path: found.problem for found in verify(copied.workspace, None)}
    assert findings[str(published)] == "it is not the codebook that was extended"
