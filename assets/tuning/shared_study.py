"""One study that several processes work on; the trial of a dead process is retried.

Optuna's journal storage has no heartbeat. Instead, every worker holds a lock on a file of its own,
which the kernel releases when it dies: a trial whose worker's lock is free is abandoned.
"""

import fcntl
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from assets.tuning.journal import open_journal
from assets.tuning.space import suggest
from model.params import Params, PrunerParams

logger = logging.getLogger("onepiece")

JOURNAL = "journal.log"
WORKER, ORIGIN, RETRIES, REASON, FACTS = "worker", "origin", "retries", "reason", "facts"
MAX_RETRIES = 2  # parameters that kill every process that tries them are given up
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class SharedStudy:
    """Hands out the trials of one study and keeps their results."""

    def __init__(self, home: Path, name: str, params: Params) -> None:
        """Open the study, or create it.

        Args:
            home: of the journal and the workers' locks; several studies may share it.
            name: of the study; the same for the same task only.
            params: section ``tuning_study`` is read.
        """
        self.params = params
        self._settings = params.tuning_study
        self._home = home
        self._study = optuna.create_study(
            storage=open_journal(home / JOURNAL),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(self._settings.pruner),
        )

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the lock that marks this process as a living worker."""
        self._worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        file = self._home / "workers" / self._worker
        with _locked(file):
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def is_complete(self) -> bool:
        """Whether as many trials are finished as were wanted."""
        return len(self.finished()) >= self._settings.num_trials

    def take(self) -> tuple[optuna.Trial, dict[str, Any]] | None:
        """The next trial and its values by dotted key; None while there is none to start.

        There is none while others work on the last ones; they may still die, so ask again.
        """
        with _locked(self._home / "asking.lock"):
            self._give_up_dead_trials()
            running = self._trials(TrialState.RUNNING)
            if len(self.finished()) + len(running) >= self._settings.num_trials:
                return None
            known = [one.user_attrs for one in self._study.get_trials(deepcopy=False)]
            origin = sum(ORIGIN in attributes and RETRIES not in attributes for attributes in known)
            self._study.sampler = self._sampler(origin)
            trial = self._study.ask()
            trial.set_user_attr(WORKER, self._worker)
            if ORIGIN not in trial.user_attrs:
                trial.set_user_attr(ORIGIN, origin)
            return trial, suggest(trial, self.params)

    def finish(self, trial: optuna.Trial, value: float, facts: dict[str, Any]) -> None:
        """Record a completed trial.

        Args:
            trial: as it was taken.
            value: validation NDCG@10.
            facts: what else is known of it.
        """
        trial.set_user_attr(FACTS, facts)
        self._study.tell(trial, value)

    def end_early(self, trial: optuna.Trial, reason: str) -> None:
        """Record a trial that was pruned or refused; the sampler will avoid similar values."""
        trial.set_user_attr(REASON, reason)
        self._study.tell(trial, state=TrialState.PRUNED)

    def finished(self) -> list[FrozenTrial]:
        """Trials with a result, in the order in which they were first begun."""
        found = self._trials(*FINISHED)
        return sorted(found, key=lambda trial: trial.user_attrs[ORIGIN])

    def importances(self) -> dict[str, float]:
        """The share of the results' variance that each key explains; empty if all are equal."""
        values = [trial.value for trial in self._trials(TrialState.COMPLETE)]
        if len(set(values)) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._settings.seed)
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _sampler(self, origin: int) -> optuna.samplers.TPESampler:
        """The sampler of one trial, seeded by its number: a resumed study goes on the same way."""
        seed = np.random.SeedSequence((self._settings.seed, origin)).generate_state(1)[0]
        return optuna.samplers.TPESampler(
            n_startup_trials=self._settings.startup_trials, seed=int(seed)
        )

    def _give_up_dead_trials(self) -> None:
        """Fail the trials of dead workers, and enqueue the same values again."""
        for trial in self._trials(TrialState.RUNNING):
            worker = trial.user_attrs.get(WORKER)
            if worker is not None and _lives(self._home / "workers" / worker):
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            retries = trial.user_attrs.get(RETRIES, 0)
            if ORIGIN not in trial.user_attrs or retries == MAX_RETRIES:
                continue
            origin = trial.user_attrs[ORIGIN]
            logger.info("trial %d: its process %s died; it will be retried", origin, worker)
            again = {ORIGIN: origin, RETRIES: retries + 1}
            self._study.enqueue_trial(trial.params, user_attrs=again)


def _pruner(params: PrunerParams) -> optuna.pruners.BasePruner:
    if params.kind == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.PercentilePruner(
        100.0 - params.percentile,  # Optuna wants the share of the best trials, which are kept
        n_startup_trials=params.startup_trials,
        n_warmup_steps=params.warmup_validations,
    )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _lives(lock: Path) -> bool:
    """Whether somebody holds a worker's lock; a dead one's file is removed."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    lock.unlink(missing_ok=True)
    return False
