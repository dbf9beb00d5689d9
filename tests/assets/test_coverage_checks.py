"""Great Expectations really refuses, and says what and which."""

from types import SimpleNamespace

import pytest

from assets.coverage_checks import COVERAGE_CHECKS, judged_rows
from assets.expectations import failing_rows
from assets.maker import maker_of
from assets.report_metadata import pictures
from model.dataset.coverage_report import CoverageReport
from model.params import CoverageThresholds

CHECKS = {check.name: check for check in COVERAGE_CHECKS}
STRICT = CoverageThresholds(
    min_rate=0.8,
    min_candidate_rate=0.6,
    min_traffic_rate=0.8,
    max_invalid_rate=0.0,
    max_zero_rate=0.01,
    max_duplicate_rate=0.5,
)
LAX = CoverageThresholds(
    min_rate=0.0,
    min_candidate_rate=0.0,
    min_traffic_rate=0.0,
    max_invalid_rate=1.0,
    max_zero_rate=1.0,
    max_duplicate_rate=1.0,
)


def _row(**changes):
    row = {"covered": 90, "total": 100, "rate": 0.9, "missing": 10, "duplicate_rate": 0.1}
    row |= dict.fromkeys(("null", "zero", "nan", "wrong_width"), 0)
    row |= {"candidates": {"rate": 0.9}, "traffic": {"events": 0.95}}
    return row | changes


def _report(samples=None, **modalities):
    names = list(modalities)
    return CoverageReport(
        modalities=modalities,
        joint={},
        combinations=[],
        popularity=[],
        over_time=[],
        norms=[],
        samples={name: (samples or {}) for name in names},
    )


@pytest.fixture
def workspace(tmp_path):
    """As much of a workspace as a check looks at."""
    thresholds = {"default": STRICT, "lax": LAX}
    params = SimpleNamespace(coverage_report=SimpleNamespace(thresholds=thresholds))
    return SimpleNamespace(params=params, data=tmp_path)


@pytest.mark.parametrize(
    ("name", "spoiled", "numbers"),
    [
        ("enough_items_are_covered", {"rate": 0.5}, "rate is 0.5000, min_rate 0.8000"),
        ("enough_items_are_covered", {"rate": 0.799999}, "rate is 0.799999, min_rate 0.800000"),
        (
            "vectors_are_valid",
            {"covered": 19_099_626, "nan": 1},
            "invalid_rate is 0.0000001, max_invalid_rate 0.0000000",
        ),
        (
            "enough_candidates_are_covered",
            {"candidates": {"rate": 0.25}},
            "candidate_rate is 0.2500, min_candidate_rate 0.6000",
        ),
        (
            "enough_traffic_is_covered",
            {"traffic": {"events": 0.79}},
            "traffic_rate is 0.7900, min_traffic_rate 0.8000",
        ),
        ("vectors_are_valid", {"nan": 10}, "invalid_rate is 0.1000, max_invalid_rate 0.0000"),
        ("vectors_are_valid", {"wrong_width": 1}, "invalid_rate is 0.0110, max_invalid_rate"),
        ("zero_vectors_are_rare", {"zero": 10}, "zero_rate is 0.1000, max_zero_rate 0.0100"),
        (
            "equal_vectors_are_rare",
            {"duplicate_rate": 0.75},
            "duplicate_rate is 0.7500, max_duplicate_rate 0.5000",
        ),
    ],
)
def test_a_check_refuses_the_one_modality_that_fails(workspace, name, spoiled, numbers):
    report = _report(**{"81": _row(), "82": _row(**spoiled), "lax": _row(**spoiled)})
    verdict = CHECKS[name].judge(report, workspace)
    assert not verdict.passed
    assert f"Modality 82: {numbers}" in verdict.reason
    assert "Modality 81" not in verdict.reason
    assert "Modality lax" not in verdict.reason
    assert "82" in verdict.metadata["failing rows"].value


def test_all_is_well(workspace):
    report = _report(**{"81": _row(), "82": _row(covered=99, zero=1, duplicate_rate=0.5)})
    for check in COVERAGE_CHECKS:
        verdict = check.judge(report, workspace)
        assert verdict.passed, check.name
        assert verdict.metadata["failing rows"].value == "(none)"


def test_the_items_behind_it_are_shown(workspace):
    samples = {"nan": [f"item{n}" for n in range(20)], "wrong_width": ["narrow"]}
    report = _report(samples, **{"81": _row(nan=30, wrong_width=1)})
    verdict = CHECKS["vectors_are_valid"].judge(report, workspace)
    assert "item0, item1," in verdict.reason
    assert "item19." in verdict.reason
    shown = verdict.metadata["items"].value
    assert "| 81 | item19 | nan |" in shown
    assert "| 81 | narrow | wrong width |" in shown


def test_whatever_leaves_an_item_uncovered_is_shown(workspace):
    reasons = ("missing", "null", "zero", "nan", "wrong_width")
    samples = {reason: [f"a {reason} one"] for reason in reasons}
    report = _report(samples, **{"81": _row(rate=0.1)})
    verdict = CHECKS["enough_items_are_covered"].judge(report, workspace)
    shown = verdict.metadata["items"].value
    for reason in reasons:
        assert f"| 81 | a {reason} one | {reason.replace('_', ' ')} |" in shown
        assert f"a {reason} one" in verdict.reason


def test_hot_items_and_groups_are_described(workspace):
    samples = {
        "hottest_uncovered": [{"id": "hot", "events": 1234}],
        "largest_duplicate_groups": [{"items": 7, "ids": ["a", "b"]}],
    }
    report = _report(samples, **{"81": _row(traffic={"events": 0.1}, duplicate_rate=0.9)})
    verdict = CHECKS["enough_traffic_is_covered"].judge(report, workspace)
    assert "hot | uncovered, 1,234 events" in verdict.metadata["items"].value
    verdict = CHECKS["equal_vectors_are_rare"].judge(report, workspace)
    assert "a, b | 7 items share one vector" in verdict.metadata["items"].value


def test_nothing_to_judge_is_no_failure(workspace):
    report = _report(**{"81": _row(traffic={"events": None})})
    verdict = CHECKS["enough_traffic_is_covered"].judge(report, workspace)
    assert verdict.passed
    assert "Nothing to judge" in verdict.reason


def test_the_data_docs_are_built_and_linked(workspace):
    verdict = CHECKS["vectors_are_valid"].judge(_report(**{"81": _row(nan=1)}), workspace)
    index = workspace.data / ".data_docs" / "vectors_are_valid" / "index.html"
    assert index.is_file()
    assert verdict.metadata["data docs"].value == "/files/.data_docs/vectors_are_valid/index.html"
    pages = list((index.parent / "validations").rglob("*.html"))
    assert len(pages) == 1
    assert "Failed" in pages[0].read_text()


def test_blocking_and_warning():
    warning = {"zero_vectors_are_rare", "equal_vectors_are_rare"}
    assert {check.name for check in COVERAGE_CHECKS if not check.blocking} == warning


def test_rates_of_invalid_vectors_are_of_the_rows_delivered():
    report = _report(**{"81": _row(covered=6, null=1, zero=1, nan=1, wrong_width=1, total=100)})
    (row,) = judged_rows(report, {"default": STRICT})
    assert (row["invalid_rate"], row["zero_rate"]) == (0.2, 0.1)


def test_a_column_that_cannot_be_judged_is_an_error(tmp_path):
    rows = [{"modality": "81", "rate": "a", "min_rate": 0.5}]
    with pytest.raises(Exception, match="rate"):
        failing_rows(rows, "rate", "min_rate", tmp_path)


def test_the_page_of_a_failing_demand_names_the_modality(tmp_path):
    rows = [
        {"modality": name, "rate": rate, "min_rate": 0.5}
        for name, rate in (("modality_81", 0.2), ("modality_82", 0.9), ("modality_83", 0.1))
    ]
    failing = failing_rows(rows, "rate", "min_rate", tmp_path)
    assert failing == [rows[0], rows[2]]
    (page,) = (tmp_path / "validations").rglob("*.html")
    assert "modality_81" in page.read_text()
    assert "modality_83" in page.read_text()


def test_the_page_shows_a_plot_beside_the_table_of_the_same_name(tmp_path):
    """What modalities cover together, and one that is called coverage."""
    for name in ("combinations", "coverage"):
        (tmp_path / f"{name}.png").write_bytes(b"not really a picture")
    plots, told = pictures(tmp_path), maker_of("coverage_report").describe(_report())
    assert {"combinations", "coverage"} <= told.keys()
    assert len({**plots, **told}) == len(plots) + len(told)
