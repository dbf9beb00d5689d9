"""A study's table, winner and pictures, from trials written by hand."""

import csv

import pytest

from assets.tuning.report import TuningReport
from model.errors import InputError


def _trial(number, value, **update):
    return {
        "number": number,
        "state": "ended early" if value is None else "complete",
        "value": value,
        "parameters": {"optimizer.muon_lr": 0.01 * (number + 1), "codebook.sizes": [16, 16]},
        "validations": [0.1, value or 0.05],
        "reason": None if value is not None else "worse than others at the same validation",
        "facts": {},
        "lineage": {"code": "c", "parents": {"interactions": "h"}, "params": {}, "seed": 1},
        **update,
    }


TRIALS = [_trial(0, 0.2), _trial(1, None), _trial(2, 0.3), _trial(3, 0.3)]


def test_it_reads_back_as_it_was_written_and_in_the_same_bytes(tmp_path):
    report = TuningReport(TRIALS, {"codebook.sizes": 0.7, "optimizer.muon_lr": 0.3})
    report.save(tmp_path / "one")
    assert TuningReport.load(tmp_path / "one") == report
    assert list(TuningReport.load(tmp_path / "one").importances) == list(report.importances)
    report.save(tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    assert {"history.png", "importances.png"} < {path.name for path in (tmp_path / "one").iterdir()}


def test_the_table_has_a_row_for_each_trial(tmp_path):
    TuningReport(TRIALS, {}).save(tmp_path / "report")
    with (tmp_path / "report" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["ndcg@10"] for row in rows] == ["0.2", "", "0.3", "0.3"]
    assert rows[1]["reason"] == "worse than others at the same validation"
    assert rows[1]["last validation"] == "0.05"
    assert rows[2]["optimizer.muon_lr"] == "0.03"


def test_the_earliest_of_equals_wins():
    assert TuningReport(TRIALS, {}).best["number"] == 2


def test_without_a_finished_trial_there_is_no_winner(tmp_path):
    lost = [
        _trial(0, None, reason="network: Value error, dim 16 is not a multiple", validations=[])
    ]
    with pytest.raises(InputError, match="none of 1 trials completed: network: Value"):
        TuningReport(lost, {}).save(tmp_path / "report")
    assert not (tmp_path / "report").exists()
    with pytest.raises(InputError, match="none of 0 trials completed; run `onepiece tune` with"):
        _ = TuningReport([], {}).best
