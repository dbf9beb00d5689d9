"""Whole trainings on the tiny world: resume to the byte, several processes, early stopping."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from torch import distributed
from torch.multiprocessing.spawn import spawn

from model import sources
from model.errors import InputError
from model.network.checkpoint import Checkpoint
from model.training.distributed import World, join_world, leave_world
from model.training.inputs import TrainingInputs
from model.training.resume import State, StateFolder
from model.training.task import build_trainer, fingerprint, train
from tests.model.small_network import CPU, SIZES, pipeline_params, small_data

ALONE = World(0, 1, CPU)
RECOMMENDER = "recommender_checkpoint"


def _params(*, training=None, loss=None, **changes):
    values = pipeline_params().model_dump(mode="json")
    for name in ("encoder_checkpoint", RECOMMENDER):
        values[name] |= {"batch_size": 8, "epochs": 3, "initialize_from_encoder": False}
        values[name] |= training or {}
        values[name]["loss"] |= loss or {}
    for name, update in changes.items():
        values[name] |= update
    return type(pipeline_params()).model_validate(values)


def _inputs(data):
    return TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, SIZES, None, "content"
    )


def _train(data, params, folder, **options):
    return train(
        _inputs(data),
        params,
        RECOMMENDER,
        options.pop("world", ALONE),
        state_folder=folder / "state",
        out=folder / "checkpoint",
        **options,
    )


def _bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "checkpoint").iterdir())}


def test_learns_and_says_what_it_did(data, tmp_path):
    assert _train(data, _params(training={"epochs": 8}), tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint")
    losses = [row["loss"] for row in made.metadata["history"] if row["loss"] is not None]
    assert losses[-1] < losses[0]
    assert made.metadata["num_parameters"] > 0
    assert made.metadata["history"][-1]["ndcg@10"] is not None
    assert len({tuple(row) for row in made.metadata["history"]}) == 1  # equal keys
    assert (tmp_path / "checkpoint" / "curves.png").stat().st_size > 1000
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("stop_at", [1, 7, 12])
def test_an_interrupted_training_ends_with_the_bytes_of_an_unbroken_one(data, tmp_path, stop_at):
    """Dropout, early stopping, average of weights and experts' balance included."""
    params = _params(
        training={"patience": 9, "validate_every_epochs": 0.5},
        optimizer={"ema_decay": 0.9},
        network={"dropout": 0.2},
    )
    assert _train(data, params, tmp_path / "unbroken")
    steps = iter(range(1, 1000))
    assert not _train(data, params, tmp_path / "broken", interrupted=lambda: next(steps) == stop_at)
    assert _train(data, params, tmp_path / "broken")
    assert _bytes(tmp_path / "broken") == _bytes(tmp_path / "unbroken")


def test_how_often_the_state_is_kept_does_not_decide_what_it_is(data, tmp_path):
    often = _params(training={"checkpoint_minutes": 0.001})
    seldom = _params(training={"checkpoint_minutes": 60})
    steps = iter(range(1, 1000))
    assert not _train(data, often, tmp_path, interrupted=lambda: next(steps) == 7)
    seen = []
    assert _train(data, seldom, tmp_path, interrupted=lambda: bool(seen.append(1)))
    total = Checkpoint.load(tmp_path / "checkpoint").metadata["steps"]
    assert len(seen) == total - 7


def test_an_unfinished_training_shows_its_curves(data, tmp_path):
    events = tmp_path / "events"
    steps = iter(range(1, 1000))
    stopped = _train(
        data, _params(), tmp_path, interrupted=lambda: next(steps) == 7, events_folder=events
    )
    assert not stopped
    assert b"infonce" in next(events.glob("events.*")).read_bytes()


def test_another_recipe_does_not_take_up_the_state(data, tmp_path):
    _train(data, _params(), tmp_path, interrupted=lambda: True)
    other = _params(training={"epochs": 2})
    assert _train(data, other, tmp_path)
    assert _train(data, other, tmp_path / "fresh")
    assert _bytes(tmp_path) == _bytes(tmp_path / "fresh")


def test_other_code_does_not_take_up_the_state(data, tmp_path, monkeypatch):
    library = tmp_path / "model"
    shutil.copytree(sources.LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "LIBRARY", library)
    known = fingerprint(_inputs(data), _params(), RECOMMENDER)
    (library / "inference" / "beam_search.py").write_text("")  # no part of a training
    assert fingerprint(_inputs(data), _params(), RECOMMENDER) == known
    with (library / "network" / "hstu.py").open("a") as file:
        file.write("# another line\n")
    assert fingerprint(_inputs(data), _params(), RECOMMENDER) != known


def test_early_stopping_keeps_the_best_weights(data, tmp_path):
    params = _params(
        training={"epochs": 60, "patience": 2, "validate_every_epochs": 1},
        optimizer={"adamw_lr": 0.05, "muon_lr": 0.3},
    )
    _train(data, params, tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint")
    found = [row["ndcg@10"] for row in made.metadata["history"] if row["ndcg@10"] is not None]
    assert made.metadata["stopped_early"]
    assert len(found) < 60
    assert made.metadata["validation_ndcg@10"] == pytest.approx(max(found), abs=1e-5)
    assert max(found) not in found[-2:]
    trainer = build_trainer(_inputs(data), params, RECOMMENDER, ALONE)
    measured = trainer.validation.measure(made.build(), CPU)
    assert measured["ndcg@10"] == pytest.approx(max(found), abs=1e-5)


def test_a_loss_that_is_not_a_number_stops_before_the_weights_are_touched(data, tmp_path, caplog):
    """The sentence names the step, users and the state before; the log names all users."""
    states = StateFolder(tmp_path, "x")
    trainer = build_trainer(_inputs(data), _params(), RECOMMENDER, ALONE)
    assert not trainer.run(states, lambda: True)
    with torch.no_grad():
        trainer.network.norm.weight[0] = torch.nan
    before = {name: p.clone() for name, p in trainer.network.named_parameters()}
    with pytest.raises(InputError, match=r"not a number at step 1 .first of 8 users") as refusal:
        trainer.run(states, lambda: False)
    names = [data.interactions.raw_user_ids[int(u)].as_py() for u in trainer.order.rows(1)]
    assert all(name in caplog.text for name in names)
    assert names[0] in str(refusal.value)
    assert f"the last good state is {tmp_path / 'step-1'};" in str(refusal.value)
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, before[name]) or name == "norm.weight"


def test_every_form_of_the_loss_trains(data, tmp_path):
    forms = [
        {"negatives": "full_catalogue", "label_smoothing": 0.1, "logq": "none"},
        {"num_uniform_negatives": 20},
        {"logq": "streaming"},
        {"action_weights": [0.0, 1.0, 2.5]},
    ]
    for number, form in enumerate(forms):
        params = _params(loss=form, training={"epochs": 0.5})
        assert _train(data, params, tmp_path / str(number)), form


@pytest.mark.parametrize("feed_forward", ["none", "moe"])
def test_gradients_of_micro_batches_are_those_of_the_whole(data, feed_forward):
    """Also of the one row of an epoch's last step, where most micro-batches are empty."""
    losses = {"negatives": "full_catalogue", "logq": "none"}
    found = []
    for pieces in (1, 5):
        params = _params(
            loss=losses,
            training={"accumulation_steps": pieces, "batch_size": 13},
            network={"dropout": 0.0},
        )
        params = _without_noise(params, feed_forward=feed_forward)
        trainer = build_trainer(_inputs(data), params, RECOMMENDER, ALONE)
        assert len(trainer.order.rows(3)) == 1
        for step in (0, 3):
            trainer._step(step)
        found.append({name: p.detach().clone() for name, p in trainer.network.named_parameters()})
    for name, parameter in found[0].items():
        assert torch.allclose(parameter, found[1][name], atol=1e-4), name


def _without_noise(params, *, feed_forward="none"):
    values = params.model_dump(mode="json")
    values["network"] |= {"dropout": 0.0, "input_dropout": 0.0}
    values["network"]["features"]["context_dropout"] = 0.0
    values["network"]["feed_forward"]["kind"] = feed_forward
    return type(params).model_validate(values)


def test_the_newest_state_is_damaged_and_the_one_before_is_taken(tmp_path):
    folder = StateFolder(tmp_path, "mine")
    for step in (1, 2, 3):
        folder.save(State({"weights": {"a": torch.full((2,), float(step))}}, {"step": step}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-3"]
    (tmp_path / "step-3" / "weights.safetensors").write_bytes(b"short")
    (tmp_path / ".step-4.partial-1").mkdir()  # of a writer that was killed
    state = folder.load()
    assert state is not None
    assert state.facts["step"] == 2
    assert state.tensors["weights"]["a"].tolist() == [2.0, 2.0]
    assert not (tmp_path / ".step-4.partial-1").exists()
    assert StateFolder(tmp_path, "theirs").load() is None


def test_a_state_of_more_processes_or_another_kind_of_device_is_taken_up(data, tmp_path):
    params = _params()
    trainer = build_trainer(_inputs(data), params, RECOMMENDER, ALONE)
    trainer._step(0)
    trainer.progress.step = 1
    state = trainer.state()
    running = state.tensors["running"]
    running["generator0"] = running["generator0"].repeat(4, 1)  # of four processes
    running["generator1"] = torch.zeros(4, 16, dtype=torch.uint8)  # of their GPUs
    other = build_trainer(_inputs(data), params, RECOMMENDER, ALONE)
    other.restore(state)
    assert other.run(StateFolder(tmp_path, "x"), lambda: False)
    assert other.progress.step == other.order.num_steps


# Processes of their own -------------------------------------------------------------------------


def _worker(*arguments, ranks=1, **options):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), "-m", "model.training"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


@pytest.fixture
def folder(data, tmp_path):
    """The artefacts of a training, on disk."""
    data.interactions.save(tmp_path / "data" / "interactions")
    data.statistics.save(tmp_path / "data" / "item_statistics")
    for name, embedding in data.embeddings.items():
        embedding.save(tmp_path / "data" / "modality_embeddings" / name)
    return tmp_path


def _write_params(folder, params):
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return ["--params", file, "--data", folder / "data"]


def test_two_processes_get_the_losses_of_one(folder, data):
    """Static logQ, negatives of both ranks, sparse gradients gathered, one global batch.

    With uniform negatives, experts, and a last step of one row that leaves a process without any.
    """
    params = _large_table(training={"epochs": 2, "batch_size": 13}, feed_forward="moe")
    where = _write_params(folder, params)
    process = _worker("encoder_checkpoint", *where, "--out", folder / "two", ranks=2)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    _assert_close(_alone(data, params, folder), Checkpoint.load(folder / "two"))


def _large_table(*, logq="static", feed_forward="none", **changes):
    """One table large enough for sparse gradients, and nothing random."""
    features = pipeline_params().network.features.model_dump() | {"hash_sizes": [20_011, 71]}
    loss = {"cross_rank_negatives": True, "num_uniform_negatives": 30, "logq": logq}
    loss |= {"sid_weights": []}
    params = _params(loss=loss, network={"features": features}, **changes)
    return _without_noise(params, feed_forward=feed_forward)


def _alone(data, params, folder):
    """The checkpoint that one process makes."""
    _train_without_sids(data, params, ALONE, folder / "alone")
    return Checkpoint.load(folder / "alone")


def _train_without_sids(data, params, world, out, **options):
    inputs = dataclasses.replace(_inputs(data), codes=None, sid_sizes=())
    states = out.with_name(f"{out.name}-states")
    where = {"state_folder": states, "out": out}
    return train(inputs, params, "encoder_checkpoint", world, **where, **options)


def _assert_close(one, two):
    rows = zip(one.metadata["history"], two.metadata["history"], strict=True)
    for mine, theirs in rows:
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=2e-4)
    for name, weight in one.weights.items():
        assert torch.allclose(weight, two.weights[name], atol=2e-3), name
    assert one.metadata["num_table_parameters"] == two.metadata["num_table_parameters"]


def test_processes_that_share_tables_get_the_losses_of_one_and_go_on_to_the_byte(data, tmp_path):
    """Empty micro-batches, streaming logQ, early stopping, the average of weights included."""
    params = _large_table(
        logq="streaming",
        training={"shard_tables": True, "accumulation_steps": 2, "patience": 50},
        optimizer={"ema_decay": 0.9},
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_train_with_another, (port, params, tmp_path), 2)
    alone = _alone(data, params, tmp_path)
    unbroken, broken = (Checkpoint.load(tmp_path / name) for name in ("unbroken", "broken"))
    for name, weight in unbroken.weights.items():
        assert torch.equal(weight, broken.weights[name]), name
    assert unbroken.metadata == broken.metadata
    _assert_close(alone, unbroken)


def _train_with_another(rank, port, params, folder):
    """One of two processes: an unbroken training, then one that stops after three steps."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank}
    os.environ |= {name: str(value) for name, value in place.items()}
    torch.set_num_threads(1)
    world = join_world()
    (folder / str(rank)).mkdir()
    data = small_data(folder / str(rank))
    assert _train_without_sids(data, params, world, folder / "unbroken")
    steps = iter(range(1, 1000))
    broken = (data, params, world, folder / "broken")
    assert not _train_without_sids(*broken, interrupted=lambda: next(steps) == 3)
    distributed.barrier()
    assert _train_without_sids(*broken)
    leave_world()


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(folder):
    params = _params(loss={"sid_weights": []}, training={"epochs": 5, "checkpoint_minutes": 0.001})
    where = _write_params(folder, params)
    process = _worker("encoder_checkpoint", *where, "--out", folder / "unbroken")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    killed = 0
    for _ in range(20):
        process = _worker("encoder_checkpoint", *where, "--out", folder / "broken")
        states = folder / "data" / ".resume" / "encoder_checkpoint"
        before = _newest(states)
        while process.poll() is None and _newest(states) == before:
            time.sleep(0.01)
        if process.poll() is None and killed < 2:
            process.send_signal(signal.SIGKILL)
            killed += 1
        output, _ = process.communicate(timeout=240)
        if process.returncode == 0:
            break
    assert killed == 2
    for name in ("weights.safetensors", "checkpoint.json", "history.csv"):
        one, other = (folder / kind / name for kind in ("broken", "unbroken"))
        assert one.read_bytes() == other.read_bytes(), name


def _newest(states):
    return max((path.name for path in states.glob("step-*")), default="") if states.exists() else ""


def test_sigterm_keeps_a_state_and_says_so_by_its_exit_code(folder):
    params = _params(loss={"sid_weights": []}, training={"epochs": 4000})
    where = _write_params(folder, params)
    process = _worker("encoder_checkpoint", *where, "--out", folder / "out")
    deadline = time.monotonic() + 200
    assert process.stdout is not None
    for line in process.stdout:
        if "step" in line or time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list((folder / "data" / ".resume" / "encoder_checkpoint").glob("step-*"))
    assert not (folder / "out").exists()


def test_a_store_without_a_training_event_is_refused_in_one_sentence(folder, data):
    nothing = dataclasses.replace(
        data.interactions, train_end=np.asarray(data.interactions.offsets[:-1]).copy()
    )
    nothing.save(folder / "data" / "interactions")
    where = _write_params(folder, _params(loss={"sid_weights": []}))
    process = _worker("encoder_checkpoint", *where, "--out", folder / "out")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "there is no training event" in output.splitlines()[-1]
