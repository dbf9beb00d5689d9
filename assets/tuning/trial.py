"""One trial: a training with other values, watched at each validation."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch

from assets.hashing import hash_bytes
from assets.tuning.space import changed, touches_codebook
from model.artifact import atomic_write
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.errors import InputError
from model.params import Params
from model.tokenizer.build import build_codebook
from model.tokenizer.codebook import Codebook
from model.training.distributed import World, total
from model.training.inputs import TrainingInputs
from model.training.task import resumed_trainer
from model.training.trainer import Trainer

MEASURE = "ndcg@10"
POLL_SECONDS = 0.5


class TrialInterruptedError(Exception):
    """The process was asked to end; the trial's state is kept."""


class Watch:
    """Called after every step of a training: reports new validations to Optuna."""

    def __init__(
        self,
        trainer: Trainer,
        trial: optuna.Trial | None,
        interrupted: Callable[[], bool],
    ) -> None:
        """Watch a training.

        Args:
            trainer: whose validations count.
            trial: gets them; None in all processes of a training but the first.
            interrupted: whether to stop for another reason.
        """
        self._trainer, self._trial, self._interrupted = trainer, trial, interrupted
        self._told = 0

    def __call__(self) -> bool:
        """Whether to stop and keep the state.

        Raises:
            optuna.TrialPruned: the trial is worse than others were; in all processes at the same
                step, and no state is kept.
        """
        found = validations(self._trainer)
        progress = self._trainer.progress
        unfinished = progress.step < self._trainer.order.num_steps and not progress.stopped
        if len(found) > self._told and self._tell(found) and unfinished:
            raise optuna.TrialPruned
        return self._interrupted()

    def _tell(self, found: list[float]) -> bool:
        """Report new validations; whether to prune, which the first process decides."""
        hopeless = False
        if self._trial is not None:
            for place in range(self._told, len(found)):
                self._trial.report(found[place], place)
            hopeless = self._trial.should_prune()
        self._told = len(found)
        device = self._trainer.world.device
        return bool(total(torch.tensor(float(hopeless), device=device)) > 0)


def validations(trainer: Trainer) -> list[float]:
    """NDCG@10 of every validation so far."""
    rows = trainer.recorder.rows
    return [row[MEASURE] for row in rows if row.get(MEASURE) is not None]


def run_trial(
    data: Path,
    params: Params,
    changes: dict[str, Any],
    world: World,
    *,
    folder: Path,
    trial: optuna.Trial | None,
    name: str,
    interrupted: Callable[[], bool],
) -> tuple[float, dict[str, Any]]:
    """Train with some values changed.

    Args:
        data: holds the artefacts.
        params: of the whole pipeline; section ``tuning_study`` says how long is trained.
        changes: values by dotted key.
        world: of this training's processes.
        folder: of the trial: keeps its state, and its codebook where it has one of its own.
        trial: gets the validations; None in all processes but the first.
        name: of the trial, for the log.
        interrupted: asked after every step.

    Returns:
        Validation NDCG@10 of the weights that the training would keep, and facts of the trial.

    Raises:
        InputError: the values are not valid together, or the loss became NaN or infinite.
        optuna.TrialPruned: see :class:`Watch`.
        TrialInterruptedError: ``interrupted`` said so.
    """
    settings = params.tuning_study
    asset = settings.training
    length = {"epochs": settings.epochs, "validate_every_epochs": settings.validate_every_epochs}
    chosen = changed(params, changes | {f"{asset}.{key}": one for key, one in length.items()})
    own = touches_codebook(changes)
    codebook = _own_codebook(data, chosen, folder, world) if own else None
    inputs = _inputs(data, chosen, asset, codebook)
    trainer, states = resumed_trainer(inputs, chosen, asset, world, folder / "state", what=name)
    watch = Watch(trainer, trial, interrupted)
    if trainer.progress.step:
        watch()  # a retried trial has reported nothing yet, and may have no step left
    if not trainer.run(states, watch):
        raise TrialInterruptedError
    value = trainer.final_ndcg()
    if value is None:
        raise InputError("there is no validation user; change interactions.split")
    return value, {"steps": trainer.progress.step, **_facts(codebook)}


def _own_codebook(data: Path, params: Params, folder: Path, world: World) -> Codebook:
    """Semantic IDs from the present item vectors; the first process makes them, others wait.

    They poll the file system: a collective call would time out after some minutes.

    Raises:
        InputError: no codebook is possible with these parameters.
    """
    made, refused = folder / "codebook", folder / "codebook.refused"
    if world.is_first and not made.exists():
        try:
            build_codebook(
                FusedEmbeddings.load(data / "fused_embeddings"),
                [],
                Interactions.load(data / "interactions"),
                params.codebook,
                params.seed,
            ).save(made)
        except InputError as error:
            atomic_write(refused, str(error))
    while not made.exists() and not refused.exists():
        time.sleep(POLL_SECONDS)
    if refused.exists():
        raise InputError(refused.read_text(encoding="utf-8"))
    return Codebook.load(made)


def _inputs(data: Path, params: Params, asset: str, codebook: Codebook | None) -> TrainingInputs:
    """What the training opens, with the trial's own semantic IDs where it has some."""
    inputs = TrainingInputs.load(data, params, asset)
    if codebook is None or inputs.codes is None:
        return inputs
    digest = hash_bytes(codebook.codes.tobytes())
    return dataclasses.replace(
        inputs,
        codes=codebook.codes,
        sid_sizes=tuple(codebook.sizes),
        content=f"{inputs.content} {digest}",
    )


def _facts(codebook: Codebook | None) -> dict[str, Any]:
    if codebook is None:
        return {}
    report = codebook.report[-1]
    rates = {key: report[key]["conflict_rate"] for key in ("before", "after")}
    return {"codebook": {"codes": hash_bytes(codebook.codes.tobytes()), "conflict_rate": rates}}


def forget(folder: Path) -> None:
    """Remove the working folder of a finished trial."""
    shutil.rmtree(folder, ignore_errors=True)
