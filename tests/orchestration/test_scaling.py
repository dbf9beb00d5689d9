"""The scaling study from the command line: off the main line, point by point, planned with."""

import pytest
import yaml

from assets.lineage import Lineage
from model.scaling.study import ScalingStudy
from orchestration.materialization import (
    Target,
    parse_targets,
    split_into_runs,
    stale,
    with_upstream,
)
from tests.orchestration.command import onepiece
from tests.orchestration.tiny_world import write_tiny_params

POINTS = [f"infonce_only_l1_d{width}_e0_f100_s0" for width in (8, 16, 24)]
STUDY = {"protocols": ["infonce_only"], "points": POINTS, "bootstrap_samples": 5}


@pytest.fixture
def asked(copied):
    """The finished world, with a study in its parameter file."""
    values = yaml.safe_load(copied.params_file.read_text())
    values["scaling_study"].update(STUDY)
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    return copied


def test_nobody_runs_it_unasked(asked):
    workspace = asked.workspace
    assert {"scaling_points", "scaling_study"}.isdisjoint(workspace.main_line)
    assert "submission" in workspace.main_line
    assert "everything: up to date" in asked.onepiece("materialize").stderr
    assert not (asked.data / "scaling_points").exists()


def test_a_point_more_leaves_the_others_alone(asked):
    """Point by point; a finished one is not repeated, and the study is made of all."""
    first = asked.onepiece("materialize", f"scaling_points@{POINTS[0]}")
    assert first.returncode == 0, first.stderr
    made = Lineage.read(asked.data / "scaling_points" / POINTS[0])
    done = asked.onepiece("materialize", "scaling_study")
    assert done.returncode == 0, done.stderr
    assert f"scaling_points@{POINTS[0]}: making it" not in done.stderr
    for name in POINTS[1:]:
        assert f"scaling_points@{name}: making it" in done.stderr
    assert Lineage.read(asked.data / "scaling_points" / POINTS[0]) == made
    study = ScalingStudy.load(asked.data / "scaling_study" / "infonce_only")
    assert [row["point"] for row in study.table] == POINTS
    assert "infonce N" in study.fits
    assert (asked.data / "scaling_study" / "infonce_only" / "laws.svg").exists()

    targets = with_upstream(asked.workspace, parse_targets(asked.workspace, ["scaling_study"]))
    assert stale(asked.workspace, targets) == []
    (asked.data / "scaling_points" / POINTS[1] / "point.json").unlink()
    lost = [Target("scaling_points", POINTS[1]), Target("scaling_study", "infonce_only")]
    assert stale(asked.workspace, targets) == lost

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


def test_without_points_or_budget_one_sentence_says_so(tmp_path):
    where = ("--params", write_tiny_params(tmp_path / "params.yaml"), "--data", tmp_path)
    empty = onepiece("materialize", "scaling_study", *where)
    assert empty.returncode == 2
    assert "scaling_study: scaling_study.protocols of" in empty.stderr
    unbudgeted = onepiece("plan", *where)
    assert unbudgeted.returncode == 2
    assert "give one budget: --gpu-hours or --flops" in unbudgeted.stderr
