"""Which models stay away after rollbacks, by the hashes of their content."""

import pytest

from assets.hashing import HashCache
from assets.lineage import Lineage, Recipe
from assets.promotion import CHECKPOINT_FOLDER, CODEBOOK_FOLDER
from assets.rollbacks import RECORD_FILE, model_hashes, note_rollback, rolled_away_as
from model.artifact import read_json
from model.errors import InputError


def _write(folder, name, content, parent):
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(content)
    recipe = Recipe(folder.name, None, {"interactions": parent}, {}, "code", 1)
    Lineage.of(recipe, folder, HashCache(None)).write(folder)


def _model(home, name, content):
    _write(home / name / CHECKPOINT_FOLDER, "weights.safetensors", content, parent=name)
    _write(home / name / CODEBOOK_FOLDER, "codes.npy", "codes", parent=name)
    return home / name


@pytest.fixture
def home(tmp_path):
    for name, content in (("m1", "one"), ("m2", "two"), ("m2_again", "two"), ("m3", "three")):
        _model(tmp_path, name, content)
    return tmp_path


def _away(home, name):
    return rolled_away_as(home, model_hashes(home / name))


def _roll_back(home, left, taken):
    note_rollback(home, left=left, taken=taken)


def test_a_model_is_its_weights_and_semantic_ids_whatever_it_was_made_from(home):
    assert model_hashes(home / "m2") == model_hashes(home / "m2_again")
    assert model_hashes(home / "m2") != model_hashes(home / "m1")
    assert model_hashes(home / "nowhere") is None


def test_a_model_that_was_left_stays_away_under_every_name(home):
    assert _away(home, "m2") is None
    _roll_back(home, "m2", "m1")
    assert (_away(home, "m2"), _away(home, "m2_again")) == ("m2", "m2")
    assert (_away(home, "m1"), _away(home, "m3")) == (None, None)
    _roll_back(home, "m3", "m1")
    assert (_away(home, "m2"), _away(home, "m3")) == ("m2", "m3")


def test_a_model_that_is_taken_again_may_stay(home):
    _roll_back(home, "m2", "m1")
    _roll_back(home, "m1", "m2_again")
    assert (_away(home, "m2"), _away(home, "m1")) == (None, "m1")
    _roll_back(home, "m2_again", "m2")  # another measurement of itself
    assert _away(home, "m2") is None


def test_a_model_whose_files_are_gone_leaves_its_name_alone(home):
    _roll_back(home, "gone", "m1")
    assert _away(home, "gone") is None
    assert _away(home, "m1") is None


def test_rollbacks_of_earlier_versions_hold_though_they_name_no_hashes(home):
    entry = '[{"at": "2026-01-01T00:00:00+00:00", "from": "m2", "to": "m1"}]'
    (home / RECORD_FILE).write_text(entry)
    assert _away(home, "m2_again") == "m2"
    _roll_back(home, "m3", "m1")
    assert [entry["from"] for entry in read_json(home / RECORD_FILE)] == ["m2", "m3"]


def test_a_damaged_record_is_refused_and_named(home):
    (home / RECORD_FILE).write_text("[")
    with pytest.raises(InputError, match=r"rollbacks\.json: not valid JSON .*; put it back"):
        _away(home, "m2")
