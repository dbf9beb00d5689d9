"""Train and measure one point by the pipeline's own training and evaluation.

All points use the same artefacts: neither semantic IDs nor statistics are made again, so that
points differ in what their names say and in nothing else.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.dataset.interactions import Interactions
from model.dataset.split import sample_users
from model.errors import InputError
from model.network.checkpoint import Checkpoint
from model.params import Params
from model.scaling.grid import INFONCE_ONLY, Point
from model.scaling.point import ScalingPoint, Timing
from model.scaling.quality import catalogue_metrics, validation_losses
from model.scaling.size import measure_size, measure_workload, training_flops_per_token
from model.tokenizer.codebook import Codebook
from model.training.distributed import World, leave_world
from model.training.inputs import TrainingInputs
from model.training.task import resumed_trainer
from model.training.trainer import Trainer

CODEBOOK = "codebook"
INFONCE, BALANCE = "infonce", "balance"
# Beside the point's seed, this seeds the draw of users: the split uses the seed alone, order and
# negatives put an epoch or a step in this place, which is never as large.
SHARES = 2**32 - 1


def make_point(
    point: Point,
    params: Params,
    data: Path,
    world: World,
    *,
    state_folder: Path,
    out: Path,
    interrupted: Callable[[], bool] = lambda: False,
    trained: Callable[[], None] = lambda: None,
    keep_state: bool = False,
) -> bool:
    """Train and measure a point, resuming from the state of an earlier process.

    Args:
        point: which one.
        params: of the whole pipeline, before the point changes them.
        data: holds one folder per artefact.
        world: this process among all.
        state_folder: keeps the state of the unfinished training between runs.
        out: the point's folder.
        interrupted: asked after every step.
        trained: called in the first process once a kill can cost no training step any more; it may
            end the process.
        keep_state: whether to keep the state in the end too, for the caller to remove.

    Returns:
        Whether it is finished; if not, the training's state is kept.

    Raises:
        InputError: an artefact is missing, the point does not fit the parameters, or its loss is
            not a number.
    """
    own = point.apply(params)
    inputs = TrainingInputs.load(data, own, point.asset)
    codebook = None if point.protocol == INFONCE_ONLY else Codebook.load(data / CODEBOOK)
    trained_on = with_share(inputs, point.percent, point.seed)
    trainer, states = resumed_trainer(
        trained_on, own, point.asset, world, state_folder, what=point.name
    )
    if not trainer.run(states, interrupted):
        return False
    state, weights = trainer.state(), trainer.final_weights()
    leave_world()  # only the first process goes on, so nothing below may be collective
    if world.is_first:
        states.save(state)  # a kill during the evaluation costs no step
        trained()
        # All seeds are measured on the same users.
        measured = own.model_copy(update={"seed": params.seed})
        _measure(point, measured, inputs, codebook, trainer, weights).save(out)
        if not keep_state:
            states.remove()
    return True


def with_share(inputs: TrainingInputs, percent: int, seed: int) -> TrainingInputs:
    """Keep a seeded share of the training users; smaller shares are subsets of larger ones.

    Raises:
        InputError: no user is left to train on.
    """
    if percent == 100:
        return inputs
    interactions = inputs.interactions
    stream = (seed, SHARES)
    drawn = np.random.default_rng(stream).random(interactions.num_users) < percent / 100
    begins = np.asarray(interactions.offsets[:-1])
    ends = np.where(drawn, np.asarray(interactions.train_end), begins)
    if not (ends > begins).any():
        raise InputError(
            f"scaling_study.points: {percent} % of {interactions.num_users:,} users leave nobody "
            "to train on; raise the percentage"
        )
    return dataclasses.replace(
        inputs,
        interactions=dataclasses.replace(interactions, train_end=ends),
        content=f"{inputs.content} {percent} % drawn by {stream}",
    )


def tokens_of(trainer: Trainer) -> int:
    """How many tokens all steps of a training hold, over all processes."""
    interactions: Interactions = trainer.dataset.interactions
    begins = np.asarray(interactions.offsets[:-1])
    inputs = np.asarray(interactions.train_end) - 1 - begins
    lengths = np.minimum(inputs, trainer.dataset.max_length) + 1
    steps = range(trainer.progress.step)
    return int(sum(int(lengths[trainer.order.rows(step)].sum()) for step in steps))


def _measure(
    point: Point,
    params: Params,
    inputs: TrainingInputs,
    codebook: Codebook | None,
    trainer: Trainer,
    weights: dict[str, Tensor],
) -> ScalingPoint:
    """Measure a finished training, in its first process, which holds all the weights."""
    device, section = trainer.world.device, getattr(params, point.asset)
    final = trainer.recorder.final_losses()
    ignored = {BALANCE} if point.trains_infonce else {BALANCE, INFONCE}
    trained = [name for name in final if name not in ignored]
    users = sample_users(
        inputs.interactions.validation_event, section.max_validation_users, params.seed
    )
    network_params = params.network.model_dump(mode="json")
    checkpoint = Checkpoint(weights, network_params, inputs.schema, {})
    network = checkpoint.build().to(device)
    workload = measure_workload(trainer.batches(0))
    return ScalingPoint(
        point=point,
        size=measure_size(network),
        workload=workload,
        flops_per_token=training_flops_per_token(network, workload, infonce=point.trains_infonce),
        tokens=tokens_of(trainer),
        steps=trainer.progress.step,
        final_losses={name: final[name] for name in trained},
        validation_losses=validation_losses(trainer, network, users, trained),
        metrics=catalogue_metrics(point, checkpoint, codebook, inputs, params, device),
        timing=Timing(trainer.progress.seconds, trainer.world.size, _name(device)),
        history=trainer.recorder.rows,
    )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
