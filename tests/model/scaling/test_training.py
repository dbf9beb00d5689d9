"""One point from artefacts on disk: measured, interrupted, taken up, on a share of the users."""

import dataclasses
import os
import signal
import socket

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F

from model.dataset.user_draw import draw_users
from model.network.checkpoint import Checkpoint, weights_of
from model.network.onepiece import OnePiece
from model.scaling.grid import Point
from model.scaling.point import ScalingPoint
from model.scaling.quality import catalogue_metrics, validation_losses
from model.scaling.training import make_point, with_share
from model.tokenizer.codebook import Codebook
from model.training.distributed import World, join_world, leave_world
from model.training.inputs import TrainingInputs
from model.training.task import build_trainer
from model.training.worker import TERMINATED_EXIT, Interruption
from tests.model.small_network import CPU, SIZES, network_params, pipeline_params

ALONE = World(0, 1, CPU)
POINT = Point.parse("infonce_only_l2_d16_e0_f100_s3")
JOINT, SID_ONLY = (Point.parse(f"{name}_l1_d16_e2_f100_s3") for name in ("joint", "sid_only"))


@pytest.fixture(scope="module")
def artefacts(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts")
    data.interactions.save(folder / "interactions")
    data.statistics.save(folder / "item_statistics")
    for name, embedding in data.embeddings.items():
        embedding.save(folder / "modality_embeddings" / name)
    return folder


def _params(*, training=None, loss=None, **changes):
    values = pipeline_params().model_dump(mode="json")
    values["encoder_checkpoint"] |= {"batch_size": 8, "epochs": 3, **(training or {})}
    values["encoder_checkpoint"]["loss"] |= loss or {}
    for name, update in changes.items():
        values[name] |= update
    return type(pipeline_params()).model_validate(values)


def _make(artefacts, folder, params=None, world=ALONE, **options):
    return make_point(
        POINT,
        params or _params(),
        artefacts,
        world,
        state_folder=folder / "state",
        out=folder / "point",
        **options,
    )


def _untimed(point):
    return dataclasses.replace(point, timing=dataclasses.replace(point.timing, seconds=0.0))


def test_interrupted_anywhere_it_ends_as_if_it_had_not_been(artefacts, tmp_path):
    assert _make(artefacts, tmp_path / "unbroken")
    steps = iter(range(1, 1000))
    assert not _make(artefacts, tmp_path / "broken", interrupted=lambda: next(steps) == 7)
    assert not (tmp_path / "broken" / "point").exists()
    assert _make(artefacts, tmp_path / "broken")
    whole, pieces = (ScalingPoint.load(tmp_path / one / "point") for one in ("unbroken", "broken"))
    assert _untimed(whole) == _untimed(pieces)
    assert not (tmp_path / "broken" / "state").exists()
    assert whole.losses == ("infonce",)
    assert whole.final_losses["infonce"]["steps"] == 3  # a fifth of fifteen
    assert 0.0 < whole.validation_losses["infonce"] < 10.0
    assert whole.metrics["embedding"]["hr@10"] > 0.0
    assert whole.steps == 15
    assert whole.flops == whole.flops_per_token * whole.tokens
    assert whole.timing.seconds > 0.0


@pytest.fixture
def interruption():
    before = signal.getsignal(signal.SIGTERM)
    yield Interruption()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("early", [True, False], ids=["before it", "during it"])
def test_a_killed_measurement_repeats_no_step(
    artefacts, tmp_path, monkeypatch, interruption, early
):
    def trained():
        if early:
            signal.raise_signal(signal.SIGTERM)
        interruption.end_at_once()

    def measure(*arguments):
        assert not early
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")

    with monkeypatch.context() as patch, pytest.raises(SystemExit, match=str(TERMINATED_EXIT)):
        patch.setattr("model.scaling.training._measure", measure)
        _make(artefacts, tmp_path, trained=trained)
    for keep_state in (True, False):  # also where the point was lost before it stood
        untouched = {"interrupted": lambda: pytest.fail("a step was repeated")}
        assert _make(artefacts, tmp_path, keep_state=keep_state, **untouched)
        assert (tmp_path / "state").exists() is keep_state


def test_tokens_are_counted_as_the_batches_hold_them(data, artefacts, tmp_path):
    _make(artefacts, tmp_path)
    interactions = data.interactions
    lengths = np.asarray(interactions.train_end - interactions.offsets[:-1])
    tokens = np.minimum(lengths - 1, _params().network.max_length) + 1
    assert ScalingPoint.load(tmp_path / "point").tokens == 3 * int(tokens[lengths > 0].sum())


def _inputs(data):
    return TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, SIZES, None, "content"
    )


def test_a_smaller_share_lies_within_a_larger(data):
    inputs = _inputs(data)

    def users(percent, seed=1):
        interactions = with_share(inputs, percent, seed).interactions
        return set(np.flatnonzero(interactions.train_end > interactions.offsets[:-1]).tolist())

    assert users(25) < users(50) < users(100)
    assert users(50, seed=2) != users(50)
    assert with_share(inputs, 50, 1).content != with_share(inputs, 25, 1).content


def test_a_share_is_drawn_apart_from_the_validation_users(data):
    """Also where the point's seed is the file's."""
    seed = 42
    validates = draw_users(data.interactions.raw_user_ids, 0.5, seed)
    inputs = with_share(_inputs(data), 50, seed)
    trained = inputs.interactions.train_end > inputs.interactions.offsets[:-1]
    assert 0 < (trained & validates).sum() < validates.sum()
    assert (trained & ~validates).any()


def _quiet(**changes):
    """Tables that are shared, negatives that are gathered, and nothing random."""
    features = pipeline_params().network.features.model_dump()
    features |= {"hash_sizes": [20_011, 71], "context_dropout": 0.0, "item_id_dropout": 0.0}
    return _params(
        training={"shard_tables": True, "epochs": 1},
        loss={"cross_rank_negatives": True, "num_uniform_negatives": 9},
        network={"dropout": 0.0, "input_dropout": 0.0, "features": features},
        **changes,
    )


def test_processes_that_share_tables_measure_what_one_does(artefacts, tmp_path):
    """The first one measures alone, and none waits for another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_make_with_another, (port, artefacts, tmp_path / "two"), 2)
    assert _make(artefacts, tmp_path / "one", _quiet())
    one, two = (ScalingPoint.load(tmp_path / name / "point") for name in ("one", "two"))
    assert two.size == one.size
    assert two.tokens == one.tokens
    assert two.timing.processes == 2
    assert two.validation_losses["infonce"] == pytest.approx(
        one.validation_losses["infonce"], rel=1e-3
    )


def _make_with_another(rank, port, artefacts, folder):
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank}
    os.environ |= {name: str(value) for name, value in place.items()}
    torch.set_num_threads(1)
    assert _make(artefacts, folder, _quiet(), join_world())
    leave_world()


@pytest.mark.parametrize("negatives", ["full_catalogue", "in_batch"])
def test_validation_losses_are_of_the_weights_and_negatives_that_count(data, negatives):
    """Those of the average of weights, against the catalogue or the uniform negatives too."""
    params = POINT.apply(
        _params(
            loss={"negatives": negatives, "num_uniform_negatives": 30, "logq": "none"},
            optimizer={"ema_decay": 0.9},
        )
    )
    inputs = TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, (), None, "content"
    )
    trainer = build_trainer(inputs, params, POINT.asset, ALONE)
    for step in range(4):
        trainer._step(step)
    made = Checkpoint(
        trainer.final_weights(), params.network.model_dump(mode="json"), inputs.schema, {}
    )
    users = np.flatnonzero(data.interactions.validation_event >= 0)[:8]  # one batch
    found = validation_losses(trainer, made.build(), users, ["infonce"])["infonce"]
    assert found == pytest.approx(_by_hand(trainer, made.build(), users), rel=1e-4)


def _untrained(data):
    """A joint model and its codebook."""
    params = network_params()
    weights = weights_of(data.network(params))
    return (
        Checkpoint(weights, params.model_dump(mode="json"), data.schema(), {}),
        Codebook.of(data.codes, [np.zeros((size, 2), np.float32) for size in SIZES], []),
    )


def test_models_with_and_without_a_decoder_are_measured_with_the_same_masks(data):
    interactions = data.interactions
    targets = np.unique(interactions.item_ids[interactions.test_event])
    blocked = [interactions.raw_item_ids[int(item) - 1].as_py() for item in targets[::2]]
    checkpoint, codebook = _untrained(data)
    params = pipeline_params(cascade={"blocked_items": blocked})
    with_decoder, without = (
        catalogue_metrics(JOINT, checkpoint, codes, _inputs(data), params, CPU)["embedding"]
        for codes in (codebook, None)
    )
    assert without == pytest.approx(with_decoder)
    unblocked = catalogue_metrics(POINT, checkpoint, None, _inputs(data), pipeline_params(), CPU)
    assert without != unblocked["embedding"]


def test_a_path_that_the_protocol_does_not_train_is_left_out(data):
    checkpoint, codebook = _untrained(data)
    params, inputs = pipeline_params(), _inputs(data)
    joint, sid_only = (
        catalogue_metrics(point, checkpoint, codebook, inputs, params, CPU)
        for point in (JOINT, SID_ONLY)
    )
    assert set(joint) == {"embedding", "sid", "cascade"}
    assert sid_only == {"sid": joint["sid"]}


def test_few_users_are_measured_with_the_same_bits_by_any_number_of_threads(data, monkeypatch):
    checkpoint, _ = _untrained(data)
    encode, before = OnePiece.encode, torch.get_num_threads()
    threads = {}

    def watched(network, batch):
        threads[len(batch.last)] = torch.get_num_threads()
        return encode(network, batch)

    monkeypatch.setattr(OnePiece, "encode", watched)
    params = pipeline_params(cascade={"batch_size": 33})
    try:
        torch.set_num_threads(2)
        catalogue_metrics(POINT, checkpoint, None, _inputs(data), params, CPU)
    finally:
        torch.set_num_threads(before)
    assert threads.pop(33) == 2
    assert set(threads.values()) == {1}  # of the few that are left


def _by_hand(trainer, network, users):
    """Cross-entropy of the held-out event, user by user."""
    dataset, loss = trainer.dataset, trainer.params.loss
    interactions = dataset.interactions
    histories = dataset.history_windows("validation", users, 1)
    batch = dataset.assemble(histories)
    targets = interactions.item_ids[interactions.validation_event[users]]
    if loss.negatives == "full_catalogue":
        items = np.arange(1, interactions.num_known_items + 1)
    else:
        drawn = np.random.default_rng(0).integers(1, interactions.num_known_items + 1, 30)
        items = np.unique(np.concatenate([batch.items.ids[1:].numpy(), targets, drawn]))
    with torch.inference_mode():
        vectors = network.embed_items(dataset.features.gather(torch.from_numpy(items)))
        hidden = network.encode(batch).hidden[batch.last]
        logits = F.normalize(hidden, dim=1) @ F.normalize(vectors, dim=1).T / loss.temperature
        places = torch.from_numpy(np.searchsorted(items, targets))
        each = F.cross_entropy(logits, places, reduction="none")
        weights = torch.tensor(loss.action_weights)[batch.next_actions[batch.last]]
    return float((each * weights).sum() / weights.sum())
