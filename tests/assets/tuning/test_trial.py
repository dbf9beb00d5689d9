"""What a trial tells of its validations, and when it is ended early."""

from types import SimpleNamespace

import optuna
import pytest
import torch

from assets.tuning.trial import Watch


def _trainer(steps=4):
    return SimpleNamespace(
        recorder=SimpleNamespace(rows=[]),
        progress=SimpleNamespace(step=0, stopped=False),
        order=SimpleNamespace(num_steps=steps),
        world=SimpleNamespace(device=torch.device("cpu")),
    )


def _step(trainer, ndcg=None):
    trainer.progress.step += 1
    trainer.recorder.rows.append({"step": trainer.progress.step, "loss": 1.0, "ndcg@10": ndcg})


@pytest.fixture
def study():
    """One whose second trial is worse than its first."""
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1)
    )
    first = study.ask()
    for place in range(4):
        first.report(0.5, place)
    study.tell(first, 0.5)
    return study


def test_every_validation_is_told_once(study):
    trainer, trial = _trainer(), study.ask()
    watch = Watch(trainer, trial, lambda: False)
    for ndcg in (0.6, None, 0.7):
        _step(trainer, ndcg)
        assert watch() is False
    assert study.trials[-1].intermediate_values == {0: 0.6, 1: 0.7}


def test_a_hopeless_trial_is_ended(study):
    trainer, trial = _trainer(), study.ask()
    watch = Watch(trainer, trial, lambda: False)
    _step(trainer, None)
    assert watch() is False
    _step(trainer, 0.1)
    with pytest.raises(optuna.TrialPruned):
        watch()


def test_one_that_is_at_its_end_is_not(study):
    trainer, trial = _trainer(steps=1), study.ask()
    _step(trainer, 0.1)
    assert Watch(trainer, trial, lambda: False)() is False
    assert study.trials[-1].intermediate_values == {0: 0.1}


def test_one_that_early_stopping_ended_is_at_its_end(study):
    trainer, trial = _trainer(), study.ask()
    watch = Watch(trainer, trial, lambda: False)
    _step(trainer, 0.1)
    trainer.progress.stopped = True
    assert not watch()
    assert trial.should_prune()


def test_what_a_trial_had_told_before_it_was_killed_is_told_again(study):
    trainer, trial = _trainer(), study.ask()
    for ndcg in (0.6, 0.7):
        _step(trainer, ndcg)
    Watch(trainer, trial, lambda: False)()
    assert study.trials[-1].intermediate_values == {0: 0.6, 1: 0.7}


def test_a_process_that_is_not_the_first_tells_nothing():
    trainer = _trainer()
    _step(trainer, 0.6)
    assert Watch(trainer, None, lambda: True)() is True
