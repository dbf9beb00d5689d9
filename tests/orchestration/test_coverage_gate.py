"""A blocking check stops the run, shows the failing rows, and nothing is built on it."""

import signal

import pytest

from orchestration.failures import RUN_FAILED
from tests.orchestration.command import onepiece
from tests.orchestration.interrupted import PUBLISHED, materialize
from tests.orchestration.tiny_world import tiny_params, write_tiny_params


def _strict_params(folder):
    thresholds = tiny_params()["coverage_report"]["thresholds"]
    thresholds["82"] = {**thresholds["default"], "min_rate": 0.99}
    return write_tiny_params(folder / "params.yaml", coverage_report={"thresholds": thresholds})


def test_too_little_coverage_stops_the_run(tmp_path):
    file = _strict_params(tmp_path)
    where = ("--params", file, "--data", tmp_path / "data")
    refused = onepiece("materialize", "coverage_report", *where)
    assert refused.returncode == RUN_FAILED
    told = refused.stderr.splitlines()[-1]
    assert told.startswith("onepiece: coverage_report: a blocking check failed: ")
    assert "Modality 82: rate is 0.5991, min_rate 0.9900 (260 of 434 items covered" in told
    assert "First items: 200" in told
    assert "Modality 81" not in told
    onward = onepiece("materialize", "encoder_checkpoint", "--only", *where)
    assert onward.returncode != 0
    assert "coverage_report: a blocking check failed" in onward.stderr


@pytest.mark.long
def test_a_run_killed_before_it_judged_leaves_no_way_past_the_gate(tmp_path):
    file, data = _strict_params(tmp_path), tmp_path / "data"
    code = materialize(file, data, tmp_path / "log", ("coverage_report", PUBLISHED))
    assert code == -signal.SIGKILL
    assert (data / "coverage_report" / "lineage.json").is_file()
    where = ("--params", file, "--data", data)
    onward = onepiece("materialize", "encoder_checkpoint", "--only", *where)
    assert "the run that made it ended before the check" in onward.stderr
    refused = onepiece("materialize", "coverage_report", *where)
    assert refused.returncode == RUN_FAILED
    assert "Modality 82: rate is 0.5991, min_rate 0.9900" in refused.stderr.splitlines()[-1]
    assert "coverage_report: unchanged, reused" in refused.stderr
