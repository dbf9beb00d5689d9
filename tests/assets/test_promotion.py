"""Who becomes champion: worked out on paper."""

from dataclasses import asdict
from pathlib import Path

import pytest

from assets.promotion import DECISION_FILE, Decision, JudgedModel, decide, newest_measurement
from model.artifact import write_json
from model.inference.champion import METRICS_FILE, beam_weight_of
from tests.model.inference.fakes import cascade_params


def _metrics(score, low=None, high=None):
    validation = {"score": score, "ci95": {"score": [low or score, high or score]}}
    return {"validation": validation, "cascade": {"score": 1.0 - score}}  # test decides nothing


def test_the_first_model_is_champion():
    decision = decide(_metrics(0.1), None, incumbent=None)
    assert decision.promoted
    assert decision.incumbent is None
    assert decision.incumbent_id is None


@pytest.mark.parametrize(
    ("score", "promoted"),
    [
        (0.25, True),  # better
        (0.19, True),  # worse, within the champion's interval
        (0.18, True),  # exactly its lower end
        (0.179, False),  # below it
    ],
)
def test_a_challenger_must_reach_the_champions_interval(score, promoted):
    champion = _metrics(0.20, low=0.18, high=0.22)
    decision = decide(_metrics(score), champion, incumbent="abc")
    assert decision.promoted is promoted
    assert decision.incumbent == {"id": "abc", "score": 0.20, "ci95": [0.18, 0.22]}
    assert "0.1800" in decision.reason


def test_a_champion_that_cannot_read_the_data_makes_way():
    decision = decide(_metrics(0.0), None, incumbent="abc", obstacle="The vocabulary changed.")
    assert decision.promoted
    assert decision.reason == "The vocabulary changed."
    assert decision.incumbent == {"id": "abc", "score": None, "ci95": None}


def test_no_score_brings_back_what_was_rolled_away_from():
    decision = decide(_metrics(0.9), _metrics(0.2), incumbent="abc", left_as="def")
    assert not decision.promoted
    assert decision.challenger["score"] == 0.9
    assert decision.incumbent["score"] == 0.2
    assert decision.reason.startswith("Its weights and codebook are those of def, which was rolled")
    assert "`onepiece rollback def`" in decision.reason


@pytest.mark.parametrize(
    ("champion", "incumbent", "read"),
    [
        (None, None, None),
        (None, "abc", {"id": "abc", "score": None, "ci95": None}),
        (
            {"score": 0.2, "ci95": [0.1, 0.3]},
            "abc",
            {"id": "abc", "score": 0.2, "ci95": [0.1, 0.3]},
        ),
    ],
)
def test_a_decision_of_an_earlier_version_is_understood(tmp_path, champion, incumbent, read):
    challenger = {"score": 0.1, "ci95": [0.1, 0.1]}
    made = {"promoted": True, "reason": "so", "challenger": challenger}
    write_json(tmp_path / DECISION_FILE, made | {"champion": champion, "incumbent": incumbent})
    assert Decision.read(tmp_path / DECISION_FILE) == Decision(True, "so", challenger, read)


def test_a_decision_is_read_as_it_was_written(tmp_path):
    decision = decide(_metrics(0.1), _metrics(0.2), incumbent="abc")
    write_json(tmp_path / DECISION_FILE, asdict(decision))
    assert Decision.read(tmp_path / DECISION_FILE) == decision


def _judged(name, metrics, incumbent=None, incumbent_metrics=None):
    decision = decide(metrics, incumbent_metrics, incumbent=incumbent)
    return JudgedModel(Path(name), decision, metrics, incumbent_metrics)


def test_the_champions_figures_are_those_of_the_newest_judgement_that_measured_it():
    first = _judged("first", _metrics(0.2))
    again = _metrics(0.3)
    challenger = _judged("second", _metrics(0.1), "first", again)
    assert newest_measurement(first, first) == (Path("first"), first.metrics)
    assert newest_measurement(first, challenger) == (Path("second"), again)
    later = _judged("third", _metrics(0.1), "second", _metrics(0.4))
    assert newest_measurement(first, later) == (Path("first"), first.metrics)


def test_a_number_is_the_blend_and_validation_takes_the_tuned_one(tmp_path):
    write_json(tmp_path / METRICS_FILE, {"beam_weight": 0.25})
    assert beam_weight_of(tmp_path, cascade_params(beam_weight="validation")) == 0.25
    assert beam_weight_of(tmp_path, cascade_params(beam_weight=0.125)) == 0.125


@pytest.mark.parametrize("given", ["validation", 0.125])
def test_without_beams_nothing_is_blended(given, tmp_path):
    assert beam_weight_of(tmp_path, cascade_params(num_sids=0, beam_weight=given)) == 0.0
