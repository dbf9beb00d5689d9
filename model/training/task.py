"""From opened artefacts to a saved checkpoint: one call, the same for one process and for many."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model.artifact import atomic_folder
from model.dataset.item_features import ItemFeatureStore
from model.dataset.sequences import SequenceDataset
from model.errors import InputError
from model.network.checkpoint import Checkpoint, section
from model.network.onepiece import OnePiece, count_parameters, count_table_parameters
from model.network.sharded_table import sharding
from model.sources import hash_sources
from model.tokenizer.sids import hash_of_codes
from model.training.distributed import World
from model.training.history import write_events, write_history
from model.training.inputs import TrainingInputs
from model.training.objective import Objective
from model.training.resume import StateFolder
from model.training.sharded_state import ShardedState, shard_of
from model.training.targets import require_weighted_target
from model.training.trainer import Trainer
from model.training.validation import Validation

if TYPE_CHECKING:
    from model.params import Params

logger = logging.getLogger("onepiece")

# What ``dvc.yaml`` lists of the library as the code of a checkpoint.
CODE = (
    "dataset",
    "metrics.py",
    "network",
    "tokenizer/codebook.py",
    "tokenizer/pictures.py",
    "tokenizer/report_views.py",
    "tokenizer/sids.py",
    "training",
)


def train(
    inputs: TrainingInputs,
    params: "Params",
    asset: str,
    world: World,
    *,
    state_folder: Path,
    out: Path,
    events_folder: Path | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    keep_state: bool = False,
) -> bool:
    """Train ``encoder_checkpoint`` or ``recommender_checkpoint``.

    Args:
        inputs: the artefacts.
        params: of the whole pipeline; sections ``seed``, ``network``, ``optimizer`` and the
            asset's are read.
        asset: which of the two.
        world: this process among all.
        state_folder: keeps the state of an unfinished training between runs.
        out: the checkpoint's folder.
        events_folder: for TensorBoard, written whenever the state is saved; None writes none.
        interrupted: polled after every step.
        keep_state: keep the state after the end too, until the caller is done with ``out``.

    Returns:
        Whether the training is finished; if not, its state is kept.

    Raises:
        InputError: initial weights do not fit; no target has a weight above 0; the loss is not a
            number.
    """
    trainer, states = resumed_trainer(inputs, params, asset, world, state_folder)

    def show() -> None:
        if world.is_first and events_folder is not None:
            write_events(trainer.recorder.rows, events_folder)

    try:
        finished = trainer.run(states, interrupted, on_keep=show)
    finally:  # also when the loss has become NaN: its curve shows since when
        show()
    if not finished:
        return False
    weights = trainer.final_weights()
    if world.is_first:
        _publish(trainer, weights, inputs, params, out)
        if not keep_state:
            states.remove()
    return True


def resumed_trainer(
    inputs: TrainingInputs,
    params: "Params",
    asset: str,
    world: World,
    state_folder: Path,
    what: str | None = None,
) -> tuple[Trainer, StateFolder]:
    """Set up a training, resumed from the state that an earlier process left, if any.

    Args:
        inputs: the artefacts.
        params: of the whole pipeline.
        asset: whose training parameters apply.
        world: this process among all.
        state_folder: keeps the state of an unfinished training between runs.
        what: name of the training in the log; None for the asset's.

    Returns:
        The training, and where its state is kept.

    Raises:
        InputError: initial weights do not fit; no target has a weight above 0.
    """
    trainer = build_trainer(inputs, params, asset, world, what)
    states = StateFolder(state_folder, fingerprint(inputs, params, asset))
    known = states.load()
    if known is not None:
        logger.info("%s: resuming from step %d", trainer.what, known.facts["step"])
        trainer.restore(known)
    return trainer, states


def build_trainer(
    inputs: TrainingInputs, params: "Params", asset: str, world: World, what: str | None = None
) -> Trainer:
    """Set up a training before its first step; see :func:`resumed_trainer` for the arguments.

    Raises:
        InputError: initial weights do not fit; no target has a weight above 0.
    """
    training = getattr(params, asset)
    network_params = params.network.model_dump(mode="json")
    torch.manual_seed(params.seed)
    with sharding(shard_of(world) if training.shard_tables else None):
        network = OnePiece(inputs.schema, section(network_params))
    if inputs.initial_weights is not None:
        start_from(network, ShardedState(network, world).own(inputs.initial_weights), asset)
    features = ItemFeatureStore(
        inputs.interactions, inputs.statistics, inputs.embeddings, world.device
    )
    dataset = SequenceDataset(inputs.interactions, inputs.statistics, features, network_params)
    require_weighted_target(dataset, training.loss.action_weights, f"{asset}.loss.action_weights")
    objective = Objective(
        network,
        training.loss,
        torch.from_numpy(inputs.statistics.log_q.copy()),
        None if inputs.codes is None else torch.from_numpy(inputs.codes.copy()),
        inputs.interactions.num_known_items,
    ).to(world.device)
    validation = Validation(
        dataset,
        inputs.statistics.popularity,
        training.max_validation_users,
        params.seed,
    )
    return Trainer(
        what or asset,
        objective=objective,
        dataset=dataset,
        validation=validation,
        params=training,
        optimizer_params=params.optimizer,
        seed=params.seed,
        world=world,
        rates=dict.fromkeys(inputs.initial_weights or (), float(training.inherited_rate)),
    )


def start_from(network: OnePiece, weights: dict[str, Tensor], asset: str) -> None:
    """Initialise from the encoder's weights; the decoder, which it lacks, keeps its own.

    Raises:
        InputError: they are of another network, be it larger or smaller.
    """
    own = network.state_dict()
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise _misfit(asset, f"holds {name} {list(tensor.shape)}, which does not fit network")
    for name, tensor in own.items():
        if name not in weights and not name.startswith("_decoder."):
            raise _misfit(asset, f"lacks {name} {list(tensor.shape)}, which network has")
    network.load_state_dict(weights, strict=False)


def _misfit(asset: str, what: str) -> InputError:
    return InputError(f"{asset}: encoder_checkpoint {what}; materialise encoder_checkpoint again")


def fingerprint(inputs: TrainingInputs, params: "Params", asset: str) -> str:
    """A hash of everything that decides the result: parameters, artefacts and code.

    Code is what :data:`CODE` names: an unfinished training is not resumed by other code, which
    alone the checkpoint's lineage would then name.
    """
    chosen = {
        name: getattr(params, name).model_dump(mode="json")
        for name in ("network", "optimizer", asset)
    }
    del chosen[asset]["checkpoint_minutes"]
    schema = inputs.schema.to_json()
    recipe = [chosen, params.seed, inputs.content, schema, asset, hash_sources(*CODE)]
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest()


def _publish(
    trainer: Trainer,
    weights: dict[str, Tensor],
    inputs: TrainingInputs,
    params: "Params",
    out: Path,
) -> None:
    network_params = params.network.model_dump(mode="json")
    checkpoint = Checkpoint(weights, network_params, inputs.schema, _metadata(trainer, inputs))
    with atomic_folder(out, needed_bytes=checkpoint.nbytes) as folder:
        checkpoint.write(folder)
        write_history(trainer.recorder.rows, trainer.recorder.columns, folder)


def _metadata(trainer: Trainer, inputs: TrainingInputs) -> dict[str, Any]:
    return {
        "history": trainer.recorder.rows,
        "semantic_ids": None if inputs.codes is None else hash_of_codes(inputs.codes),
        "num_parameters": count_parameters(trainer.network),
        "num_table_parameters": count_table_parameters(trainer.network),
        "steps": trainer.progress.step,
        "final_losses": trainer.recorder.final_losses(),
        "stopped_early": trainer.progress.stopped,
        "validation_ndcg@10": trainer.final_ndcg(),
    }
