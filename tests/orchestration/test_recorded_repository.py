"""What a team does with a recorded pipeline: share it, compare, experiment, make one again."""

import re
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from orchestration.workspace import ROOT
from tests.orchestration.command import onepiece, run
from tests.orchestration.recorded_repository import (
    SOURCE,
    make_recorded_repository,
    share_compiled_code,
    succeed,
)
from tests.orchestration.tiny_repository import DVC

pytestmark = pytest.mark.long  # minutes: a repository with several finished runs


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return make_recorded_repository(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def dvc(tmp_path_factory):
    """DVC as a user has it whose home is still empty: nothing is configured but the repository."""
    home = tmp_path_factory.mktemp("home")
    return ("env", f"HOME={home}", DVC)


@pytest.fixture(scope="module")
def clone(repository, dvc, tmp_path_factory):
    """Another checkout, which has pulled what the first one pushed."""
    root = tmp_path_factory.mktemp("clone") / "onepiece"
    succeed("git", "clone", "-q", repository, root, cwd=repository)
    succeed("git", "config", "user.name", "test", cwd=root)
    succeed("git", "config", "user.email", "test@localhost", cwd=root)
    share_compiled_code(root)
    succeed(*dvc, "push", cwd=repository)
    succeed(*dvc, "pull", cwd=root)
    return root


def test_another_checkout_pulls_all_and_has_nothing_to_do(clone, dvc):
    told = onepiece("sync", cwd=clone)
    assert "raw_data, interactions" in told.stdout, told.stderr
    assert "modality_embeddings@82" in told.stdout
    assert "submission" in told.stdout
    assert "it knows all" in onepiece("sync", cwd=clone).stdout
    assert "up to date" in succeed(*dvc, "status", cwd=clone)
    assert "everything: up to date" in onepiece("materialize", cwd=clone).stderr
    assert onepiece("verify", cwd=clone).returncode == 0


def test_an_experiment_leaves_both_doors_in_step(clone, dvc):
    done = succeed(*dvc, "exp", "run", "-n", "narrow", "-S", "cascade.beam_width=4", cwd=clone)
    assert "Running stage 'evaluation_report'" in done
    assert "Running stage 'codebook'" not in done
    assert "up to date" in succeed(*dvc, "status", cwd=clone)
    assert "everything: up to date" in onepiece("materialize", cwd=clone).stderr
    changed = succeed(*dvc, "params", "diff", cwd=clone)
    assert re.search(r"cascade.beam_width\s+8\s+4", changed)
    metrics = succeed(*dvc, "metrics", "diff", cwd=clone)
    assert re.search(r"evaluation_report/metrics.json\s+cascade\.", metrics)
    assert "data/codebook/metrics.json" not in metrics
    shown = succeed(*dvc, "exp", "show", "--only-changed", "--md", cwd=clone)
    assert "[narrow]" in shown
    assert succeed("git", "status", "--porcelain", cwd=clone).split() == [
        *("M", "dvc.lock"),
        *("M", "params.yaml"),
    ]


def test_two_submissions_are_told_apart(clone):
    first, second = _submissions(clone)
    told = onepiece("diff", first[:6], second[:6], cwd=clone).stdout
    assert "raw data: unchanged" in told
    assert "cascade.beam_width: 8 -> 4" in told
    assert "metrics:\n  " in told


def test_a_remote_of_a_team_is_nobody_elses_business(clone, dvc):
    before = succeed("git", "status", "--porcelain", cwd=clone)
    page = (ROOT / "docs" / "sharing.md").read_text()
    try:
        for command in re.findall(r"^dvc (remote .*)$", page, re.M):
            succeed(*dvc, *command.split(), cwd=clone)
        listed = succeed(*dvc, "remote", "list", cwd=clone)
        assert re.search(r"team\s+s3://bucket/onepiece\s+\(default\)", listed)
        assert succeed("git", "status", "--porcelain", cwd=clone) == before
    finally:  # nobody has S3 here
        succeed(*dvc, "remote", "remove", "--local", "team", cwd=clone)


def test_the_tuning_study_is_frozen_until_somebody_asks(clone, dvc):
    making = "materialize --only tuning_study"
    assert making not in succeed(*dvc, "repro", "--dry", "tuning_study", cwd=clone)
    succeed(*dvc, "unfreeze", "tuning_study", cwd=clone)
    assert making in succeed(*dvc, "repro", "--dry", "tuning_study", cwd=clone)
    succeed(*dvc, "freeze", "tuning_study", cwd=clone)
    stages = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]
    assert stages["tuning_study"]["frozen"] is True
    succeed("git", "checkout", "dvc.yaml", cwd=clone)  # DVC has changed its indentation


def test_plots_are_drawn_from_the_templates(clone, dvc):
    done = run(*dvc, "plots", "show", cwd=clone)
    assert (done.returncode, done.stderr) == (0, "")  # also where nobody studies scaling
    page = (clone / "dvc_plots" / "index.html").read_text()
    for shown in (
        "Items covered, by modality",
        "Loss of the recommender",
        "NDCG@10 of the recommender on validation users",
        "encoder_checkpoint_curves.png",
    ):
        assert shown in page
    assert "dvc_plots" not in succeed("git", "status", "--porcelain", cwd=clone)
    study = clone / "data" / "scaling_study" / "joint"
    study.mkdir(parents=True)
    shutil.copy(min((clone / "data" / "codebook").glob("*.png")), study / "laws.png")
    succeed(*dvc, "plots", "show", "data/scaling_study/joint/laws.png", cwd=clone)
    assert "joint_laws.png" in (clone / "dvc_plots" / "index.html").read_text()
    shutil.rmtree(study.parent)


def test_an_older_submission_is_made_again_though_its_raw_files_and_parameters_have_changed(
    clone,
):
    first, _ = _submissions(clone)
    file = min((clone / SOURCE / "seq").glob("*.parquet"))
    fewer = pq.read_table(file).slice(5)
    file.unlink()
    pq.write_table(fewer, file)
    done = onepiece("rebuild", first, "--into", clone / "rebuilt", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert f"{SOURCE}: not as it was; restored by hash" in done.stderr
    assert done.stdout.startswith(f"{first}: rebuilt to the same bytes, under ")
    assert "found by hash" not in done.stdout  # all of it was made again, from the raw files on
    assert not (clone / "rebuilt" / "code").exists()


def _submissions(root):
    """The ids of the first and the second submission."""
    table = onepiece("submissions", cwd=root).stdout
    return re.findall(r"^\s*([0-9a-f]{12}) ", table, re.M)[:2]
