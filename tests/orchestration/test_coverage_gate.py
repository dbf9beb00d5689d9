"""A blocking check stops the run, shows the failing rows, and nothing is built on it."""

from orchestration.__main__ import RUN_FAILED
from tests.orchestration.command import onepiece
from tests.orchestration.tiny_world import tiny_params, write_tiny_params


def test_too_little_coverage_stops_the_run(tmp_path):
    thresholds = tiny_params()["coverage_report"]["thresholds"]
    thresholds["82"] = {**thresholds["default"], "min_rate": 0.99}
    file = write_tiny_params(tmp_path / "params.yaml", coverage_report={"thresholds": thresholds})
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
