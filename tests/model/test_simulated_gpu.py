"""Branches for GPUs, on a simulated one: all tensors on one device, the results of the CPU."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from model.inference.cascade import recommend
from model.inference.evaluation import evaluate
from model.inference.explain import explain_user
from model.inference.index_cache import with_index
from model.inference.inputs import InferenceInputs
from model.inference.quota import study_quotas
from model.inference.recommender import prepare_recommender
from model.network import tables
from model.network.checkpoint import Checkpoint, weights_of
from model.network.experts import grouped_experts, segment_experts
from model.network.moe import SparseMoE
from model.network.routing import sort_by_expert
from model.params import Params
from model.tokenizer.bounds import repeated_search
from model.tokenizer.codebook import Codebook
from model.tokenizer.nearest import FaissNearest, TorchNearest, nearest_centroid
from model.training import muon
from model.training.distributed import World
from model.training.inputs import TrainingInputs
from model.training.task import train
from tests.model.simulated_gpu import GPU, GpuTensor, simulated_gpu
from tests.model.small_network import CPU, SIZES, SmallData, network_params, pipeline_params

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one")

RECOMMENDER = "recommender_checkpoint"


@pytest.fixture
def exact_muon(monkeypatch):
    """Muon computes in bfloat16 on a GPU; without it a training has the CPU's figures."""
    usual = muon.orthogonalize

    def exact(matrices: torch.Tensor) -> torch.Tensor:
        worn = isinstance(matrices, GpuTensor)
        return GpuTensor(usual(matrices.worn)) if worn else usual(matrices)

    monkeypatch.setattr(muon, "orthogonalize", exact)


def _params(training: dict, loss: dict, **changes: dict) -> Params:
    values = pipeline_params().model_dump(mode="json")
    values[RECOMMENDER] |= {"batch_size": 8, "epochs": 1, "initialize_from_encoder": False}
    values[RECOMMENDER] |= training
    values[RECOMMENDER]["loss"] |= loss
    for name, update in changes.items():
        values[name] |= update
    return Params.model_validate(values)


def _train(data: SmallData, params: Params, device: torch.device, folder: Path, **options) -> Any:
    inputs = TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, SIZES, None, "content"
    )
    world, out = World(0, 1, device), folder / "checkpoint"
    if train(inputs, params, RECOMMENDER, world, state_folder=folder / "s", out=out, **options):
        return Checkpoint.load(out)
    return None


TRAININGS = {
    "as it comes": _params({}, {}, network={"dropout": 0.0, "input_dropout": 0.0}),
    "empty micro-batches": _params({"accumulation_steps": 9}, {"logq": "streaming"}),
    "the whole catalogue": _params({}, {"negatives": "full_catalogue", "num_uniform_negatives": 0}),
    "average, early end": _params(
        {"patience": 1, "validate_every_epochs": 0.5},
        {"num_uniform_negatives": 5},
        optimizer={"ema_decay": 0.9},
    ),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_trains_as_on_the_cpu(data, tmp_path, monkeypatch, exact_muon, name):
    monkeypatch.setattr(tables, "SPARSE_FROM_ROWS", 50)
    on_cpu = _train(data, TRAININGS[name], CPU, tmp_path / "cpu")
    with simulated_gpu():
        on_gpu = _train(data, TRAININGS[name], GPU, tmp_path / "gpu")
    for key, weight in on_cpu.weights.items():
        torch.testing.assert_close(on_gpu.weights[key], weight, rtol=1e-3, atol=1e-4, msg=key)


def test_goes_on_in_bf16_to_the_byte(data, tmp_path):
    params = _params({"precision": "bf16"}, {}, network={"dropout": 0.2})
    steps = iter(range(1, 1000))
    with simulated_gpu():
        whole = _train(data, params, GPU, tmp_path / "whole")
        stop = {"interrupted": lambda: next(steps) == 2}
        assert _train(data, params, GPU, tmp_path / "broken", **stop) is None
        broken = _train(data, params, GPU, tmp_path / "broken")
    for key, weight in whole.weights.items():
        assert torch.equal(broken.weights[key], weight), key


def _inputs(data: SmallData) -> InferenceInputs:
    network = network_params()
    weights = weights_of(data.network(network))
    return InferenceInputs(
        Checkpoint(weights, network.model_dump(mode="json"), data.schema(), {}),
        Codebook.of(data.codes, [np.zeros((size, 2), np.float32) for size in SIZES], []),
        data.interactions,
        data.statistics,
        data.embeddings,
    )


@pytest.mark.parametrize("search", ["exact", "ivf"])
def test_recommends_as_on_the_cpu(data, search):
    inputs = _inputs(data)
    cascade = {"search": search, "max_per_group": 1, "beam_width": 3, "num_sids": 2}
    params = pipeline_params(cascade=cascade | {"batch_size": 3})
    users = np.arange(data.interactions.num_users)
    found = []
    for place in (nullcontext(CPU), simulated_gpu()):
        with place as device:
            measured = evaluate(inputs, params, device).metrics
            recommender = prepare_recommender(inputs, params.cascade, device)
            recommender, _ = with_index(recommender, None)
            made = recommend(recommender, "submission", users, beam_weight=0.1)
            raw_id = data.interactions.raw_user_ids[0].as_py()
            told = explain_user(recommender, data.codes, raw_id, beam_weight=0.1, part="submission")
            found.append((measured, made.item_ids.tolist(), [one.item for one in told.candidates]))
    assert found[0] == found[1]


def test_the_quota_study_runs_there(data, monkeypatch):
    moved = []

    def move(resources, number, index):
        moved.append(number)
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", move, raising=False)
    inputs = _inputs(data)
    users = np.flatnonzero(np.asarray(data.interactions.test_event) >= 0)
    with simulated_gpu() as device:
        table = study_quotas(
            prepare_recommender(inputs, pipeline_params().cascade, device),
            users,
            np.ones(len(users)),
            beam_widths=[2],
            num_sids=[3],
            beam_weight=0.1,
        )
    assert set(table["path"]) == {"cascade", "exact", "ivf"}
    assert moved == [0]


def test_codes_are_those_of_the_cpu():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 12)).astype(np.float32)
    centroids = vectors[:40] + 0.01
    expected = FaissNearest(centroids)(vectors)
    with simulated_gpu():
        search = nearest_centroid(centroids)
        assert isinstance(search, TorchNearest)
        assert search(vectors).tolist() == expected.tolist()
        assert repeated_search(vectors)(centroids).tolist() == expected.tolist()


def test_experts_of_any_width_share_the_rows_of_a_gpu():
    torch.manual_seed(0)
    x, w1, w2 = torch.randn(30, 10), torch.randn(3, 14, 10), torch.randn(3, 10, 7)
    routing = sort_by_expert(torch.randint(0, 3, (30, 1)), torch.rand(30, 1), 3)
    expected = segment_experts(x, w1, w2, routing)
    with simulated_gpu() as gpu:
        moved = type(routing)(**{name: part.to(gpu) for name, part in vars(routing).items()})
        found = grouped_experts(x.to(gpu), w1.to(gpu), w2.to(gpu), moved)
    torch.testing.assert_close(found.cpu(), expected)


def test_a_micro_batch_without_tokens_gives_every_expert_a_gradient():
    """Data-parallel training waits for the gradient of every parameter in every process."""
    with simulated_gpu() as gpu, torch.autocast("cuda", dtype=torch.bfloat16):
        experts = SparseMoE(16, 8, 4, 2, 1, "softmax", 0.1, 0.01).to(gpu)
        nothing = torch.zeros(0, 16, device=gpu, requires_grad=True)
        out, balance = experts(nothing, torch.zeros(0, dtype=torch.long, device=gpu), 0)
        (out.sum() + balance).backward()
        assert all(parameter.grad is not None for parameter in experts.parameters())


def test_a_tensor_left_on_the_cpu_is_found():
    with simulated_gpu() as gpu:
        there = torch.zeros(3, device=gpu)
        with pytest.raises(RuntimeError, match="on the CPU"):
            there.add(torch.zeros(3))
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there + torch.tensor(1.0)).tolist() == [1.0, 1.0, 1.0]
