"""Trainings in processes of their own: several at once, killed, ended by a signal."""

import dataclasses
import os
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

from model.network.checkpoint import Checkpoint
from model.training import ENCODER
from model.training.distributed import join_world, leave_world
from model.training.task import train
from tests.model.small_network import pipeline_params, small_data
from tests.model.training.trainings import (
    ALONE,
    RECOMMENDER,
    training_inputs,
    training_params,
    without_noise,
)


def _worker(*arguments, ranks=1):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), "-m", "model.training"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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


@pytest.mark.parametrize("ranks", [2, 3])
def test_several_processes_get_the_losses_of_one(folder, data, ranks):
    """Static logQ, negatives of all ranks, sparse gradients gathered, one global batch.

    With uniform negatives, experts, and a last step of one row that leaves a process without any.
    """
    params = _large_table(training={"epochs": 2, "batch_size": 13}, feed_forward="moe")
    where = _write_params(folder, params)
    process = _worker(ENCODER, *where, "--out", folder / "several", ranks=ranks)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    _assert_close(_alone(data, params, ENCODER, folder), Checkpoint.load(folder / "several"))


def _large_table(*, logq="static", feed_forward="none", **changes):
    """One table large enough for sparse gradients, and nothing random."""
    features = pipeline_params().network.features.model_dump() | {"hash_sizes": [20_011, 71]}
    loss = {"cross_rank_negatives": True, "num_uniform_negatives": 30, "logq": logq}
    params = training_params(loss=loss, network={"features": features}, **changes)
    return without_noise(params, feed_forward=feed_forward)


def _alone(data, params, asset, folder):
    """The checkpoint that one process makes."""
    _train(data, params, asset, ALONE, folder / "alone")
    return Checkpoint.load(folder / "alone")


def _train(data, params, asset, world, out, **options):
    inputs = training_inputs(data)
    if asset == ENCODER:
        inputs = dataclasses.replace(inputs, codes=None, sid_sizes=())
    where = {"state_folder": out.with_name(f"{out.name}-states"), "out": out}
    return train(inputs, params, asset, world, **where, **options)


def _assert_close(one, two):
    rows = zip(one.metadata["history"], two.metadata["history"], strict=True)
    for mine, theirs in rows:
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=2e-4)
        # By the losses alone nobody would notice: the optimisers' steps know no scale.
        assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=2e-3)
    for name, weight in one.weights.items():
        assert torch.allclose(weight, two.weights[name], atol=2e-3), name
    assert one.metadata["num_table_parameters"] == two.metadata["num_table_parameters"]


def test_processes_that_share_tables_get_the_losses_of_one_and_go_on_to_the_byte(data, tmp_path):
    """A decoder, empty micro-batches, streaming logQ, early stopping, the average of weights."""
    params = _large_table(
        logq="streaming",
        training={"shard_tables": True, "accumulation_steps": 2, "patience": 50},
        optimizer={"ema_decay": 0.9},
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_train_with_another, (port, params, tmp_path), 2)
    alone = _alone(data, params, RECOMMENDER, tmp_path)
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
    assert _train(data, params, RECOMMENDER, world, folder / "unbroken")
    steps = iter(range(1, 1000))
    broken = (data, params, RECOMMENDER, world, folder / "broken")
    assert not _train(*broken, interrupted=lambda: next(steps) == 3)
    distributed.barrier()
    assert _train(*broken)
    leave_world()


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(folder):
    params = training_params(
        loss={"sid_weights": []}, training={"epochs": 5, "checkpoint_minutes": 0.001}
    )
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


TRAINING = """
from model.training import distributed
distributed.dist.init_process_group = lambda kind, timeout: print("up", flush=True)
distributed.join_world()
time.sleep(100)
"""
SHARDS = """
from model.inference import __main__ as shards
shards.Params.load = lambda file: print("up", flush=True) or time.sleep(100)
shards.main(["shards", "--params", "params.yaml", "--data", "data", "--out", "shards"])
"""


@pytest.mark.parametrize("work", [TRAINING, SHARDS], ids=["training", "shards"])
def test_one_of_many_ends_when_its_launcher_is_killed(work):
    # What is started behind ignores SIGINT, and Dagster gives SIGTERM the same handler.
    one = f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\n{work}"
    launcher = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {one!r}], start_new_session=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", launcher],
        env={**os.environ, "WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate(timeout=60)  # until nobody holds the pipe's other end


def test_sigterm_keeps_a_state_and_says_so_by_its_exit_code(folder):
    params = training_params(loss={"sid_weights": []}, training={"epochs": 4000})
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
    where = _write_params(folder, training_params(loss={"sid_weights": []}))
    process = _worker("encoder_checkpoint", *where, "--out", folder / "out")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "there is no training event" in output.splitlines()[-1]
