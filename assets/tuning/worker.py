"""One worker of the study: takes trials until enough are finished.

``python -m assets.tuning.worker --params F --data DIR``, or the same under ``torchrun``: then all
its processes train each trial together, and the first of them requests it and reports its result.
SIGTERM saves the state of the current trial.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
import torch.distributed as dist

from assets.tuning.shared_study import ORIGIN, SharedStudy
from assets.tuning.space import require_valid_bounds
from assets.tuning.task import StudyTask, home_of
from assets.tuning.trial import MEASURE, POLL_SECONDS, TrialInterruptedError, forget, run_trial
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params
from model.training.distributed import World
from model.training.worker import Interruption, run_worker

logger = logging.getLogger("onepiece")

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Instruction:
    """What the first process tells the others to do next.

    Attributes:
        changes: values by dotted key of the trial to train; None: wait for another instruction.
        number: of the trial.
    """

    changes: dict[str, Any] | None
    number: int = -1


class Worker:
    """One training's processes in the study; this is one of them."""

    def __init__(self, workspace: Workspace, world: World, interrupted: Callable[[], bool]) -> None:
        """Determine the study's task.

        Args:
            workspace: parameters and artefacts.
            world: of the processes that train each trial together.
            interrupted: asked after every step.

        Raises:
            InputError: an upstream artefact is missing.
        """
        self._workspace, self._world, self._interrupted = workspace, world, interrupted
        self._task = StudyTask.of(workspace)

    def lead(self) -> None:
        """Request trials, train them with the other processes and report the results.

        Raises:
            TrialInterruptedError: the process was asked to stop.
        """
        study = SharedStudy(home_of(self._workspace), self._task.name, self._workspace.params)
        with study.working():
            while not study.is_complete():
                if self._interrupted():
                    raise TrialInterruptedError
                taken = study.take()
                if taken is None:
                    self._broadcast(Instruction(None))
                    time.sleep(POLL_SECONDS)
                    continue
                trial, changes = taken
                instruction = self._broadcast(Instruction(changes, trial.user_attrs[ORIGIN]))
                assert instruction is not None
                self._lead_trial(study, trial, instruction)
        self._broadcast(None)

    def follow(self) -> None:
        """Train the trials that the first process announces, until there are no more."""
        while (instruction := self._broadcast(None)) is not None:
            if instruction.changes is not None:
                self._train(instruction, None)
                self._meet()

    def _lead_trial(
        self, study: SharedStudy, trial: optuna.Trial, instruction: Instruction
    ) -> None:
        assert instruction.changes is not None
        logger.info(
            "trial %d: %s", instruction.number, ", ".join(map(_shown, instruction.changes.items()))
        )
        outcome = self._train(instruction, trial)
        if isinstance(outcome, str):
            study.end_early(trial, outcome)
            logger.info("trial %d: ended early: %s", instruction.number, outcome)
        else:
            value, facts = outcome
            study.finish(trial, value, facts)
            logger.info("trial %d: %s %.6g", instruction.number, MEASURE, value)
        self._meet()
        forget(self._folder(instruction))

    def _meet(self) -> None:
        """Wait until no process uses the trial's folder any more."""
        if self._world.size > 1:
            dist.barrier()

    def _train(
        self, instruction: Instruction, trial: optuna.Trial | None
    ) -> str | tuple[float, dict[str, Any]]:
        """Why a trial ended early, or its value and facts; the same in all processes."""
        assert instruction.changes is not None
        try:
            return run_trial(
                self._workspace.data,
                self._workspace.params,
                instruction.changes,
                self._world,
                folder=self._folder(instruction),
                trial=trial,
                name=f"trial {instruction.number}",
                interrupted=self._interrupted,
            )
        except optuna.TrialPruned:
            return "worse than others at the same validation"
        except InputError as error:
            self._require_same_task()
            return str(error)
        except torch.OutOfMemoryError:
            if self._world.size > 1:  # the others of this training are still in it
                raise
            return "does not fit into the device's memory"

    def _require_same_task(self) -> None:
        """Check that a refusal was due to the trial's values, not to changed inputs.

        Raises:
            InputError: the artefacts that it is trained on are missing or have changed.
        """
        if StudyTask.of(self._workspace) != self._task:
            raise InputError("the data changed while the study ran; run the same command again")

    def _folder(self, instruction: Instruction) -> Path:
        trials = home_of(self._workspace) / "trials" / self._task.name
        return trials / f"{instruction.number:04d}"

    def _broadcast(self, instruction: Instruction | None) -> Instruction | None:
        """The first process's instruction, in every process."""
        if self._world.size == 1:
            return instruction
        box = [instruction]
        dist.broadcast_object_list(box, src=0, device=self._world.device)
        return box[0]


def _shown(change: tuple[str, Any]) -> str:
    dotted, value = change
    return f"{dotted} {value:.4g}" if isinstance(value, float) else f"{dotted} {value}"


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; the exit code is that of :func:`run_worker`."""
    parser = argparse.ArgumentParser(prog="python -m assets.tuning.worker", description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args(arguments)

    def work(world: World, interrupted: Interruption) -> bool:
        params = Params.load(given.params)
        require_valid_bounds(params)
        workspace = Workspace(ROOT, given.params.resolve(), params, given.data.resolve())
        worker = Worker(workspace, world, interrupted)
        try:
            worker.lead() if world.is_first else worker.follow()
        except TrialInterruptedError:
            return False
        return True

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
