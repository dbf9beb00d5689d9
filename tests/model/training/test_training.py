"""Whole trainings on the tiny world: resume to the byte, early stopping."""

import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import sources
from model.errors import InputError
from model.network.checkpoint import Checkpoint, weights_of
from model.network.onepiece import OnePiece
from model.partial_folders import _host
from model.training import recorder
from model.training.distributed import World
from model.training.resume import State, StateFolder
from model.training.task import build_trainer, fingerprint
from model.training.training_batches import TrainingBatches
from model.training.validation import Validation
from tests.model.small_network import CPU, forbid_to_open
from tests.model.training.trainings import (
    ALONE,
    RECOMMENDER,
    train_recommender,
    training_inputs,
    training_params,
    without_noise,
)


def _bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "checkpoint").iterdir())}


def test_learns_and_says_what_it_did(data, tmp_path):
    assert train_recommender(data, training_params(training={"epochs": 8}), tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint")
    losses = [row["loss"] for row in made.metadata["history"] if row["loss"] is not None]
    assert losses[-1] < losses[0]
    assert made.metadata["num_parameters"] > 0
    assert made.metadata["history"][-1]["ndcg@10"] is not None
    assert len({tuple(row) for row in made.metadata["history"]}) == 1  # equal keys
    assert (tmp_path / "checkpoint" / "curves.png").stat().st_size > 1000
    assert not (tmp_path / "state").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_learns_in_bf16_on_a_gpu(data, tmp_path):
    """By ways that no CPU takes: its kernels of attention, grouped products of experts."""
    experts = training_params().network.feed_forward.model_dump()
    experts |= {"kind": "moe", "num_experts": 4, "top_k": 2}
    params = training_params(
        training={"precision": "bf16", "epochs": 8}, network={"feed_forward": experts}
    )
    gpu = World(0, 1, torch.device("cuda", 0))
    assert train_recommender(data, params, tmp_path, world=gpu)
    made = Checkpoint.load(tmp_path / "checkpoint")
    losses = [row["loss"] for row in made.metadata["history"] if row["loss"] is not None]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert all(bool(torch.isfinite(weight).all()) for weight in made.weights.values())


@pytest.mark.parametrize(
    ("num_experts", "top_k", "micro_batches"), [(8, 2, 1), (2, 1, 1), (2, 1, 8)]
)
def test_no_step_of_a_fast_training_leaves_the_band_of_the_experts_loads(
    data, tmp_path, num_experts, top_k, micro_batches
):
    """Gates that move faster than small steps of the bias follow; every step has its row."""
    experts = training_params().network.feed_forward.model_dump()
    experts |= {"num_experts": num_experts, "top_k": top_k, "bias_step": 0.3}
    params = training_params(
        training={"batch_size": 64, "epochs": 40, "accumulation_steps": micro_batches},
        optimizer={"adamw_lr": 0.02, "warmup_share": 0.0},
        network={"feed_forward": experts},
    )
    assert train_recommender(data, params, tmp_path)
    history = Checkpoint.load(tmp_path / "checkpoint").metadata["history"]
    ginis = [value for row in history for name, value in row.items() if name.startswith("gini")]
    assert len(history) >= 40
    assert all(0.05 <= gini <= 0.4 for gini in ginis)


def test_a_state_that_is_kept_to_the_end_makes_the_same_again(data, tmp_path):
    params, steps = training_params(), iter(range(1, 1000))
    assert not train_recommender(data, params, tmp_path, interrupted=lambda: next(steps) == 7)
    assert train_recommender(data, params, tmp_path, keep_state=True)
    first = _bytes(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint")
    seen: list[int] = []
    assert train_recommender(data, params, tmp_path, interrupted=lambda: bool(seen.append(1)))
    assert len(seen) == Checkpoint.load(tmp_path / "checkpoint").metadata["steps"] - 7
    assert _bytes(tmp_path) == first
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("stop_at", [1, 7, 12])
def test_an_interrupted_training_ends_with_the_bytes_of_an_unbroken_one(data, tmp_path, stop_at):
    """Dropout, early stopping, average of weights and experts' balance included."""
    params = training_params(
        training={"patience": 9, "validate_every_epochs": 0.5},
        optimizer={"ema_decay": 0.9},
        network={"dropout": 0.2},
    )
    assert train_recommender(data, params, tmp_path / "unbroken")
    steps = iter(range(1, 1000))
    assert not train_recommender(
        data, params, tmp_path / "broken", interrupted=lambda: next(steps) == stop_at
    )
    assert train_recommender(data, params, tmp_path / "broken")
    assert _bytes(tmp_path / "broken") == _bytes(tmp_path / "unbroken")


def test_how_often_the_state_is_kept_does_not_decide_what_it_is(data, tmp_path):
    often = training_params(training={"checkpoint_minutes": 0.001})
    seldom = training_params(training={"checkpoint_minutes": 60})
    steps = iter(range(1, 1000))
    assert not train_recommender(data, often, tmp_path, interrupted=lambda: next(steps) == 7)
    seen = []
    assert train_recommender(data, seldom, tmp_path, interrupted=lambda: bool(seen.append(1)))
    total = Checkpoint.load(tmp_path / "checkpoint").metadata["steps"]
    assert len(seen) == total - 7


def test_the_tokens_of_a_step_are_those_of_all_processes(data, monkeypatch):
    trainer = build_trainer(training_inputs(data), training_params(), RECOMMENDER, ALONE)
    own = sum(len(batch.rows) for batch in trainer.batches(0))
    # As if there were another like this one.
    monkeypatch.setattr("model.training.trainer.total", lambda values: 2 * values)
    assert trainer._step(0)[0] == 2 * own


def test_uniform_negatives_owe_nothing_to_the_order_of_the_epoch_of_that_number(data, monkeypatch):
    params = training_params(loss={"num_uniform_negatives": 7})
    trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    drawn = []

    def note(self, generator):
        drawn.append(generator.integers(1 << 62))

    monkeypatch.setattr(TrainingBatches, "extra_items", note)
    for step in (0, 1):
        trainer.batches(step)
    of_orders = [np.random.default_rng((params.seed, e)).integers(1 << 62) for e in (0, 1)]
    assert len({*drawn, *of_orders}) == 4


def test_a_checkpoint_that_has_no_room_is_refused_before_it_is_written(data, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr("model.artifact.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"checkpoint needs about [\d,]+ bytes and 10 are free"):
        train_recommender(data, training_params(training={"epochs": 0.1}), tmp_path)


def test_an_unfinished_training_shows_its_curves(data, tmp_path):
    events = tmp_path / "events"
    steps = iter(range(1, 1000))
    stopped = train_recommender(
        data,
        training_params(),
        tmp_path,
        interrupted=lambda: next(steps) == 7,
        events_folder=events,
    )
    assert not stopped
    assert b"infonce" in next(events.glob("events.*")).read_bytes()


def test_another_recipe_does_not_take_up_the_state(data, tmp_path):
    train_recommender(data, training_params(), tmp_path, interrupted=lambda: True)
    other = training_params(training={"epochs": 2})
    assert train_recommender(data, other, tmp_path)
    assert train_recommender(data, other, tmp_path / "fresh")
    assert _bytes(tmp_path) == _bytes(tmp_path / "fresh")


def test_other_code_does_not_take_up_the_state(data, tmp_path, monkeypatch):
    library = tmp_path / "model"
    shutil.copytree(sources.LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "LIBRARY", library)
    known = fingerprint(training_inputs(data), training_params(), RECOMMENDER)
    (library / "inference" / "beam_search.py").write_text("")  # no part of a training
    assert fingerprint(training_inputs(data), training_params(), RECOMMENDER) == known
    with (library / "network" / "hstu.py").open("a") as file:
        file.write("# another line\n")
    assert fingerprint(training_inputs(data), training_params(), RECOMMENDER) != known


def test_without_validation_there_is_no_figure_of_it(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Validation, "possible", property(lambda self: False))
    train_recommender(data, training_params(training={"epochs": 1}), tmp_path)
    assert Checkpoint.load(tmp_path / "checkpoint").metadata["validation_ndcg@10"] is None


def test_a_row_of_a_validation_has_losses_too(data, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "ROWS_PER_EPOCH", 1)
    params = training_params(training={"epochs": 2, "validate_every_epochs": 0.4})
    train_recommender(data, params, tmp_path)
    history = Checkpoint.load(tmp_path / "checkpoint").metadata["history"]
    assert [row["step"] for row in history] == [2, 4, 5, 6, 8, 10]
    assert [row["step"] for row in history if row["ndcg@10"] is None] == [5]
    assert all(row["loss"] is not None and row["infonce"] is not None for row in history)


def test_early_stopping_keeps_the_best_weights(data, tmp_path):
    params = training_params(
        training={"epochs": 60, "patience": 2, "validate_every_epochs": 1},
        optimizer={"adamw_lr": 0.05, "muon_lr": 0.3},
    )
    train_recommender(data, params, tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint")
    found = [row["ndcg@10"] for row in made.metadata["history"] if row["ndcg@10"] is not None]
    assert made.metadata["stopped_early"]
    assert len(found) < 60
    assert made.metadata["validation_ndcg@10"] == pytest.approx(max(found), abs=1e-5)
    assert max(found) not in found[-2:]
    trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    measured = trainer.validation.measure(made.build(), CPU)
    assert measured["ndcg@10"] == pytest.approx(max(found), abs=1e-5)
    steps = made.metadata["steps"]  # of three hundred that there might have been
    assert made.metadata["final_losses"]["infonce"]["steps"] == max(1, steps // 5)


def test_patience_that_ends_with_the_last_step_has_stopped_nothing(data, tmp_path):
    params = training_params(
        training={"epochs": 2, "patience": 1, "validate_every_epochs": 1},
        optimizer={"adamw_lr": 0.05, "muon_lr": 0.3},
    )
    train_recommender(data, params, tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint").metadata
    first, last = (row["ndcg@10"] for row in made["history"] if row["ndcg@10"] is not None)
    assert first > last
    assert made["steps"] == 10
    assert not made["stopped_early"]


def test_without_early_stopping_the_figure_of_the_last_weights_is_told(data, tmp_path):
    """The last ones are kept then, and the best were others."""
    params = training_params(
        training={"epochs": 9, "patience": 0}, optimizer={"adamw_lr": 0.05, "muon_lr": 0.3}
    )
    train_recommender(data, params, tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint")
    found = [row["ndcg@10"] for row in made.metadata["history"] if row["ndcg@10"] is not None]
    assert made.metadata["validation_ndcg@10"] == found[-1] < max(found)
    trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    measured = trainer.validation.measure(made.build(), CPU)
    assert measured["ndcg@10"] == pytest.approx(found[-1], abs=1e-5)


def test_a_loss_that_is_not_a_number_stops_before_the_weights_are_touched(data, tmp_path, caplog):
    """The sentence names the step, users and the state before; the log names all users."""
    states = StateFolder(tmp_path, "x")
    trainer = build_trainer(training_inputs(data), training_params(), RECOMMENDER, ALONE)
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


def test_a_state_that_another_process_had_still_to_write_is_named_too(data, tmp_path):
    params = training_params(training={"checkpoint_minutes": 1e-9})
    trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    trainer.world = World(1, 1, CPU)  # not the first, which writes

    def first_has_written():
        StateFolder(tmp_path, "x").save(State({}, {"step": trainer.progress.step}))
        with torch.no_grad():
            trainer.network.norm.weight[0] = torch.nan

    with pytest.raises(InputError, match=r"at step 1 .*the last good state is .*step-1;"):
        trainer.run(StateFolder(tmp_path, "x"), lambda: False, on_keep=first_has_written)


def test_before_the_first_update_no_learning_rate_is_blamed(data, tmp_path):
    with pytest.raises(InputError, match=r"not a number at step 0 .*loss\.temperature") as refusal:
        train_recommender(data, training_params(loss={"temperature": 1e-40}), tmp_path)
    assert "balance_loss_weight" in str(refusal.value)
    assert "_lr" not in str(refusal.value)


@pytest.mark.parametrize("training", [{"epochs": 0.01}, {"checkpoint_minutes": 1e-9}])
def test_weights_that_an_update_ruined_are_neither_kept_nor_published(data, tmp_path, training):
    optimizer = {"adamw_lr": 1e39, "warmup_share": 0.0}
    params = training_params(training=training, optimizer=optimizer)
    with pytest.raises(InputError, match=r"not numbers after the update of step 0 .*adamw_lr"):
        train_recommender(data, params, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("encoder", "recommender", "misfit"),
    [
        ({"num_layers": 1}, {"num_layers": 2}, r"lacks layers\.1\..*, which network has"),
        ({"num_layers": 2}, {"num_layers": 1}, r"holds layers\.1\..*, which does not fit network"),
        (
            {"history_skip": 0},
            {"history_skip": 2},
            r"lacks skip\.weights \[2, \d+\], which network",
        ),
        (
            {"history_skip": 3},
            {"history_skip": 2},
            r"holds skip\.weights \[3, \d+\], which does not",
        ),
    ],
)
def test_an_encoder_of_another_network_is_refused(data, encoder, recommender, misfit):
    """A smaller one too, which would leave part of the recommender as it was drawn."""
    other = training_params(network=encoder)
    weights = weights_of(OnePiece(data.schema(()), other.network))
    inputs = replace(training_inputs(data), initial_weights=weights)
    build_trainer(inputs, other, RECOMMENDER, ALONE)  # whose decoder it need not have
    with pytest.raises(InputError, match=f"^{RECOMMENDER}: encoder_checkpoint {misfit}"):
        build_trainer(inputs, training_params(network=recommender), RECOMMENDER, ALONE)


def test_a_training_machine_needs_few_packages():
    code = """
import sys
for name in ("dagster", "duckdb", "faiss", "matplotlib", "numba", "pydantic", "yaml"):
    sys.modules[name] = None
import model.network.checkpoint, model.training.task
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_every_form_of_the_loss_trains(data, tmp_path):
    forms = [
        {"negatives": "full_catalogue", "label_smoothing": 0.1, "logq": "none"},
        {"num_uniform_negatives": 20},
        {"logq": "streaming"},
        {"action_weights": [0.0, 1.0, 2.5]},
    ]
    for number, form in enumerate(forms):
        params = training_params(loss=form, training={"epochs": 0.5})
        assert train_recommender(data, params, tmp_path / str(number)), form


@pytest.mark.parametrize("feed_forward", ["none", "moe"])
def test_gradients_of_micro_batches_are_those_of_the_whole(data, feed_forward):
    """Also of the one row of an epoch's last step, where most micro-batches are empty."""
    losses = {"negatives": "full_catalogue", "logq": "none"}
    found = []
    for pieces in (1, 5):
        params = training_params(
            loss=losses,
            training={"accumulation_steps": pieces, "batch_size": 13},
            network={"dropout": 0.0},
        )
        params = without_noise(params, feed_forward=feed_forward)
        trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
        for experts in trainer.network.experts():
            experts.bias_step = 0.0  # which holds the loads of each micro-batch in the band
        assert len(trainer.order.rows(3)) == 1
        for step in (0, 3):
            trainer._step(step)
        found.append({name: p.detach().clone() for name, p in trainer.network.named_parameters()})
    for name, parameter in found[0].items():
        assert torch.allclose(parameter, found[1][name], atol=1e-4), name


def test_the_newest_state_is_damaged_and_the_one_before_is_taken(tmp_path):
    folder = StateFolder(tmp_path, "mine")
    for step in (1, 2, 3):
        folder.save(State({"weights": {"a": torch.full((2,), float(step))}}, {"step": step}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-3"]
    (tmp_path / "step-3" / "weights.safetensors").write_bytes(b"short")
    killed, living = (tmp_path / f".step-4.partial-{_host()}-{pid}" for pid in (999999999, 1))
    killed.mkdir()
    living.mkdir()
    state = folder.load()
    assert state is not None
    assert state.facts["step"] == 2
    assert state.tensors["weights"]["a"].tolist() == [2.0, 2.0]
    assert not killed.exists()
    assert living.exists()
    assert folder.newest() == tmp_path / "step-2"  # which a loss that is no number would name
    assert StateFolder(tmp_path, "theirs").load() is None


@pytest.mark.parametrize("facts", ["{}", "[]", "3", '{"step": 2, "groups": []}'])
def test_facts_that_are_not_those_of_a_state_are_damage_too(tmp_path, facts):
    folder = StateFolder(tmp_path, "mine")
    for step in (1, 2):
        folder.save(State({"weights": {"a": torch.zeros(2)}}, {"step": step}))
    (tmp_path / "step-2" / "state.json").write_text(facts)
    state = folder.load()
    assert state is not None
    assert state.facts["step"] == 1
    assert not (tmp_path / "step-2").exists()


def test_a_state_that_must_not_be_read_is_no_damaged_one(tmp_path, monkeypatch):
    folder = StateFolder(tmp_path, "mine")
    folder.save(State({"weights": {"a": torch.zeros(2)}}, {"step": 2}))
    forbid_to_open(monkeypatch, "weights.safetensors")
    with pytest.raises(InputError, match=r"step-2: cannot be read .*; give yourself"):
        folder.load()
    assert (tmp_path / "step-2").exists()


def test_a_state_of_more_processes_or_another_kind_of_device_is_taken_up(data, tmp_path):
    params = training_params()
    trainer = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    trainer._step(0)
    trainer.progress.step = 1
    state = trainer.state()
    running = state.tensors["running"]
    running["generator0"] = running["generator0"].repeat(4, 1)  # of four processes
    running["generator1"] = torch.zeros(4, 16, dtype=torch.uint8)  # of their GPUs
    other = build_trainer(training_inputs(data), params, RECOMMENDER, ALONE)
    other.restore(state)
    assert other.run(StateFolder(tmp_path, "x"), lambda: False)
    assert other.progress.step == other.order.num_steps
