"""What several processes, of which some are killed, make of one study."""

import multiprocessing
import os
import signal

import pytest

from assets.tuning.shared_study import MAX_RETRIES, SharedStudy
from model.params import Params
from tests.orchestration.tiny_world import tiny_params

SPACE = {"optimizer.muon_lr": {"kind": "float", "low": 0.001, "high": 0.1, "log": True}}
KEY = "optimizer.muon_lr"


def _params(**update):
    settings = {"space": SPACE, "num_trials": 6, "startup_trials": 2, **update}
    return Params.model_validate(tiny_params(tuning_study=settings))


def _value(changes):
    return 1 - abs(changes[KEY] - 0.02)


def _finish(study, trials=None):
    """Finish so many trials, or all."""
    with study.working():
        while not study.is_complete() and (trials is None or trials > 0):
            trial, changes = study.take()
            study.finish(trial, _value(changes), {})
            trials = None if trials is None else trials - 1


def _results(study):
    return [(trial.user_attrs["origin"], trial.params, trial.value) for trial in study.finished()]


def _die_with_a_trial(home, params):
    study = SharedStudy(home, "one", params)
    with study.working():
        study.take()
        os.kill(os.getpid(), signal.SIGKILL)


def _kill_one(home, params):
    victim = multiprocessing.get_context("spawn").Process(
        target=_die_with_a_trial, args=(home, params)
    )
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL


@pytest.fixture
def unbroken(tmp_path):
    study = SharedStudy(tmp_path / "unbroken", "one", _params())
    _finish(study)
    return _results(study)


def test_after_a_kill_the_study_ends_as_if_nothing_had_been(tmp_path, unbroken):
    home = tmp_path / "study"
    _finish(SharedStudy(home, "one", _params()), trials=3)
    _kill_one(home, _params())
    before = _results(SharedStudy(home, "one", _params()))
    assert before == unbroken[:3]  # no finished trial is lost
    study = SharedStudy(home, "one", _params())
    _finish(study)
    assert _results(study) == unbroken
    assert not any((home / "workers").iterdir())


def test_no_more_trials_are_given_out_than_were_wanted(tmp_path):
    first, second = (SharedStudy(tmp_path, "one", _params(num_trials=2)) for _ in range(2))
    with first.working(), second.working():
        one, two = first.take(), second.take()
        assert one is not None
        assert two is not None
        assert first.take() is None
        first.finish(one[0], 0.5, {})
        assert first.take() is None  # the last one is in hand, and may yet come back
        second.end_early(two[0], "no good")
        assert first.is_complete()
        assert second.is_complete()
    assert [trial.user_attrs.get("reason") for trial in first.finished()] == [None, "no good"]


def test_what_a_living_worker_has_in_hand_is_left_to_it(tmp_path):
    first, second = (SharedStudy(tmp_path, "one", _params(num_trials=2)) for _ in range(2))
    with first.working(), second.working():
        one, two = first.take(), second.take()
        assert one is not None
        assert two is not None
        assert one[1] != two[1]


def test_values_that_kill_every_process_are_given_up(tmp_path):
    for _ in range(MAX_RETRIES + 1):
        _kill_one(tmp_path, _params(num_trials=1))
    study = SharedStudy(tmp_path, "one", _params(num_trials=1))
    _finish(study)
    (trial,) = study.finished()
    assert trial.user_attrs["origin"] == 1


def test_more_trials_go_on_with_the_same_study(tmp_path, unbroken):
    _finish(SharedStudy(tmp_path / "more", "one", _params(num_trials=2)))
    study = SharedStudy(tmp_path / "more", "one", _params(num_trials=6))
    _finish(study)
    assert _results(study) == unbroken


def test_a_trial_worse_than_the_others_is_to_be_ended_early(tmp_path):
    pruner = {"kind": "percentile", "percentile": 50, "startup_trials": 2, "warmup_validations": 1}
    study = SharedStudy(tmp_path, "one", _params(pruner=pruner))
    with study.working():
        for value in (0.5, 0.6):
            trial, _ = study.take()
            trial.report(value, 0)
            trial.report(value, 1)
            assert not trial.should_prune()
            study.finish(trial, value, {})
        trial, _ = study.take()
        trial.report(0.1, 0)
        assert not trial.should_prune()  # within the warm-up
        trial.report(0.1, 1)
        assert trial.should_prune()


@pytest.mark.parametrize(("percentile", "ended"), [(10, []), (50, [0.21]), (90, [0.21, 0.44])])
def test_what_lies_below_the_percentile_of_the_earlier_trials_is_ended(tmp_path, percentile, ended):
    when = {"startup_trials": 5, "warmup_validations": 0}
    pruner = {"kind": "percentile", "percentile": percentile, **when}
    study = SharedStudy(tmp_path, "one", _params(pruner=pruner, num_trials=20))
    found = []
    with study.working():
        for value in (0.1, 0.2, 0.3, 0.4, 0.5):
            trial, _ = study.take()
            trial.report(value, 0)
            study.finish(trial, value, {})
        for value in (0.21, 0.44):
            trial, _ = study.take()
            trial.report(value, 0)
            if trial.should_prune():
                found.append(value)
            study.end_early(trial, "not to be among the earlier ones")
    assert found == ended


def test_importances_need_results_that_differ(tmp_path):
    study = SharedStudy(tmp_path, "one", _params())
    assert study.importances() == {}
    _finish(study)
    assert study.importances() == {KEY: pytest.approx(1.0)}
