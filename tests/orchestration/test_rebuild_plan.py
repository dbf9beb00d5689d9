"""What is made again from a revision, and what has to be found by its hash instead."""

import textwrap

import pytest

from assets.stages import hash_code, load_stages
from model.errors import InputError
from orchestration.rebuild_plan import Revision, plan_rebuild

DOCUMENT = """
    stages:
      raw_data: {deps: [model/read.py], params: [source]}
      interactions: {deps: [data/raw_data, model/read.py]}
      recommender: {deps: [data/interactions, model/train.py], params: [epochs]}
      champion: {deps: [data/recommender, data/interactions, model/judge.py]}
      submission: {deps: [data/champion, data/interactions, model/submit.py]}
"""
PARENTS = {"champion/c1": "champion-1", "interactions": "interactions-1"}
PARAMS = {"source": "raw", "epochs": 2}


@pytest.fixture
def revision(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("read", "train", "judge", "submit"):
        (tmp_path / "model" / f"{name}.py").write_text(name)
    (tmp_path / "dvc.yaml").write_text(textwrap.dedent(DOCUMENT))
    return Revision(tmp_path, load_stages(tmp_path), PARAMS, seed=1)


@pytest.fixture
def manifest(revision):
    def entry(digest, code, params=(), **parents):
        return {
            "hash": digest,
            "parents": parents,
            "params": {name: PARAMS[name] for name in params},
            "code": hash_code(revision.root, (f"model/{code}.py",)),
            "seed": 1,
        }

    return {
        "id": "0123456789ab",
        "git": {"revision": "f" * 40, "dirty": False},
        "artifacts": {
            "raw_data": entry("raw-1", "read", ["source"], source="delivery-1"),
            "interactions": entry("interactions-1", "read", raw_data="raw-1"),
            "recommender": entry(
                "recommender-1", "train", ["epochs"], interactions="interactions-1"
            ),
            "champion/c1": entry(
                "champion-1", "judge", recommender="recommender-1", interactions="interactions-1"
            ),
        },
    }


def _plan(manifest, revision, *, raw_lost=False, frozen_lost=False):
    lost = {"raw_lost": raw_lost, "frozen_lost": frozen_lost}
    return plan_rebuild(manifest, PARENTS, revision, **lost)


def test_everything_is_made_again_upstream_first(manifest, revision):
    plan = _plan(manifest, revision)
    assert plan.targets == ("raw_data", "interactions", "recommender", "champion", "submission")
    assert plan.taken == frozenset()
    assert plan.why == ()


def test_what_was_read_from_lost_raw_files_is_found_by_hash(manifest, revision):
    plan = _plan(manifest, revision, raw_lost=True)
    assert plan.taken == {"raw_data", "interactions"}
    assert plan.targets == ("recommender", "champion", "submission")


def test_a_codebook_that_extends_a_lost_one_is_found_by_hash(manifest, revision):
    plan = _plan(manifest, revision, frozen_lost=True)
    assert plan.taken == {"codebook"}
    assert plan.why == ("the codebook that its own extends is gone, its own was found by hash",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"params": {"epochs": 3}}, "recommender was made with other parameters"),
        ({"code": "older"}, "recommender was made with code that the revision does not have"),
        ({"seed": 2}, "recommender was made with other parameters"),
    ],
)
def test_a_champion_of_an_earlier_run_is_found_by_hash(manifest, revision, changes, reason):
    manifest["artifacts"]["recommender"].update(changes)
    plan = _plan(manifest, revision)
    assert plan.taken == {"champion"}
    assert plan.targets == ("raw_data", "interactions", "submission")
    assert reason in plan.why[0]


def test_a_champion_of_earlier_data_is_found_by_hash(manifest, revision):
    artifacts = manifest["artifacts"]
    old = {**artifacts["interactions"], "hash": "interactions-0"}
    artifacts["interactions#interact"] = old
    artifacts["recommender"]["parents"] = {"interactions": "interactions-0"}
    plan = _plan(manifest, revision)
    assert plan.taken == {"champion"}
    assert "replaced" in plan.why[0]


def test_code_that_was_never_committed_is_refused_by_name(manifest, revision):
    manifest["artifacts"]["interactions"]["code"] = "edited"
    with pytest.raises(InputError, match=r"^0123456789ab: interactions was made with code .* fff"):
        _plan(manifest, revision)


def test_a_dirty_tree_does_not_matter_where_the_code_is_the_revisions(manifest, revision):
    manifest["git"]["dirty"] = True
    assert _plan(manifest, revision).taken == frozenset()
