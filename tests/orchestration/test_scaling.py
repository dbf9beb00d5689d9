"""The scaling study from the command line: off the main line, point by point, planned with."""

import pytest
import yaml

from model.scaling.study import ScalingStudy
from orchestration.materialization import split_into_runs, stale
from orchestration.targets import Target, parse_targets, with_upstream
from tests.orchestration.command import onepiece
from tests.orchestration.tiny_world import write_tiny_params

POINTS = [f"infonce_only_l1_d{width}_e0_f100_s0" for width in (8, 16, 24)]
ONE_MORE = "infonce_only_l2_d16_e0_f100_s0"
STUDY = {"protocols": ["infonce_only"], "bootstrap_samples": 5}


@pytest.fixture
def asked(copied):
    """The finished world, with a study in its parameter file."""
    _ask_for(copied, POINTS)
    return copied


def test_nobody_runs_it_unasked(asked):
    workspace = asked.workspace
    assert {"scaling_points", "scaling_study"}.isdisjoint(workspace.main_line)
    assert "submission" in workspace.main_line
    assert "everything: up to date" in asked.onepiece("materialize").stderr
    assert not (asked.data / "scaling_points").exists()


def _ask_for(world, points):
    values = yaml.safe_load(world.params_file.read_text())
    values["scaling_study"].update(STUDY | {"points": points})
    world.params_file.write_text(yaml.safe_dump(values, sort_keys=False))


def _stale(world):
    workspace = world.workspace
    return stale(workspace, with_upstream(workspace, parse_targets(workspace, ["scaling_study"])))


@pytest.mark.long
def test_a_point_more_or_a_point_lost_leaves_the_others_alone(asked):
    done = asked.onepiece("materialize", "scaling_study")
    assert done.returncode == 0, done.stderr
    folder = asked.data / "scaling_study" / "infonce_only"
    study = ScalingStudy.load(folder)
    assert [row["point"] for row in study.table] == POINTS
    assert "infonce N" in study.fits
    assert (folder / "laws.svg").exists()
    assert _stale(asked) == []

    study_again = Target("scaling_study", "infonce_only")
    _ask_for(asked, [*POINTS, ONE_MORE])
    assert _stale(asked) == [Target("scaling_points", ONE_MORE), study_again]
    _ask_for(asked, POINTS)
    (asked.data / "scaling_points" / POINTS[1] / "point.json").unlink()
    assert _stale(asked) == [Target("scaling_points", POINTS[1]), study_again]

    refused = asked.onepiece("plan", "--flops", "1")
    assert refused.returncode == 2, refused.stderr
    assert "follows a power law" in refused.stderr or "raise the budget" in refused.stderr


def test_points_run_one_by_one_and_the_main_line_as_a_whole(asked):
    workspace = asked.workspace
    targets = with_upstream(workspace, parse_targets(workspace, ["scaling_study"]))
    main_line, *points = split_into_runs(workspace, targets)
    assert main_line[0].asset == "raw_data"
    assert {target.asset for target in main_line} <= set(workspace.main_line)
    assert [[str(target) for target in run] for run in points] == [
        *([f"scaling_points@{name}"] for name in POINTS),
        ["scaling_study@infonce_only"],
    ]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_point_that_cannot_be_trained_is_refused_before_the_others_are(tmp_path, options):
    wide = "joint_l1_d20_e8_f100_s0"  # heads are 8 wide
    params = write_tiny_params(tmp_path / "params.yaml")
    values = yaml.safe_load(params.read_text())
    values["scaling_study"] |= {"protocols": ["joint"], "points": ["joint_l1_d16_e8_f100_s0", wide]}
    params.write_text(yaml.safe_dump(values, sort_keys=False))
    data = tmp_path / "data"
    refused = onepiece("materialize", "scaling_study", *options, "--params", params, "--data", data)
    assert refused.returncode == 2
    assert wide in refused.stderr
    assert "width 20" in refused.stderr
    assert not (data / "raw_data").exists()


def test_without_points_or_budget_one_sentence_says_so(tmp_path):
    where = ("--params", write_tiny_params(tmp_path / "params.yaml"), "--data", tmp_path)
    empty = onepiece("materialize", "scaling_study", *where)
    assert empty.returncode == 2
    assert "scaling_study: scaling_study.protocols of" in empty.stderr
    unbudgeted = onepiece("plan", *where)
    assert unbudgeted.returncode == 2
    assert "give one budget: --gpu-hours or --flops" in unbudgeted.stderr
    boundless = onepiece("plan", "--gpu-hours", "nan", *where)
    assert boundless.returncode == 2
    assert "a budget is above 0; nan was given" in boundless.stderr
