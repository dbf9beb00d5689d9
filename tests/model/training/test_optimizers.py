"""The three optimisers as one: who gets what, clipping, exact continuation."""

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from model.errors import InputError
from model.params import OptimizerParams
from model.training.optimizers import Optimizers, build_optimizers

PARAMS = OptimizerParams(
    hidden_matrices="muon",
    muon_lr=0.02,
    muon_momentum=0.95,
    routed_experts="muon",
    adamw_lr=0.004,
    embedding_lr=0.01,
    betas=(0.9, 0.98),
    weight_decay=0.1,
    schedule="cosine",
    warmup_share=0.1,
    clip_norm=1.0,
    ema_decay=0.0,
)
ITEMS = 30
NORM = ("norm.weight", "norm.bias")


class TinyNetwork(nn.Module):
    """A table, a stack of two projections, experts, a head with a bias, a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(ITEMS, 8, padding_idx=0, sparse=True)
        self.pair = nn.Linear(8, 16, bias=False)
        self.experts = nn.Parameter(torch.randn(3, 8, 8) / 3)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def hidden_matrices(self) -> dict[str, tuple[nn.Parameter, int]]:
        return {"pair.weight": (self.pair.weight, 2), "experts": (self.experts, 1)}

    def embedding_tables(self) -> dict[str, nn.Parameter]:
        return {"items.weight": self.items.weight}

    def forward(self, ids: Tensor) -> Tensor:
        x = self.items(ids)
        left, right = self.pair(x).chunk(2, dim=-1)
        mixed = torch.einsum("td,edh->th", F.silu(left) * right, self.experts)
        return self.head(self.norm(x + mixed))


def train(network: TinyNetwork, optimizers: Optimizers, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimizers.zero_grad()
        for _ in range(2):  # micro-batches
            ids = torch.randint(0, ITEMS, (16,), generator=generator)
            F.cross_entropy(network(ids), ids % 5).backward()
        optimizers.clip(1.0)
        optimizers.step(1.0 - step / 200)


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_every_parameter_has_one_optimiser_and_only_matrices_decay():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    assert set(optimizers.muon.parameters) == {"pair.weight", "experts"}
    assert set(optimizers.embedding.tables) == {"items.weight"}
    decays, stays = optimizers.adamw.param_groups
    assert decays["weight_decay"] == 0.1 and stays["weight_decay"] == 0.0
    assert [id(p) for p in decays["params"]] == [id(network.head.weight)]
    expected = {id(network.head.bias), id(network.norm.weight), id(network.norm.bias)}
    assert {id(p) for p in stays["params"]} == expected


def test_routed_experts_may_go_to_adamw_and_nothing_else_changes_hands():
    network = TinyNetwork()
    params = PARAMS.model_copy(update={"routed_experts": "adamw"})
    optimizers = build_optimizers(network, params, {})
    assert set(optimizers.muon.parameters) == {"pair.weight"}
    assert set(optimizers.others) == {"experts", "head.weight", "head.bias", *NORM}
    assert id(network.experts) in map(id, optimizers.adamw.param_groups[0]["params"])  # decays
    before = network.experts.detach().clone()
    train(network, optimizers, range(3))
    assert not torch.equal(before, network.experts)


@pytest.mark.parametrize("routed", ["muon", "adamw"])
def test_all_hidden_matrices_may_go_to_adamw_those_of_experts_too(routed, tmp_path):
    network = TinyNetwork()
    params = PARAMS.model_copy(update={"hidden_matrices": "adamw", "routed_experts": routed})
    optimizers = build_optimizers(network, params, {})
    assert not optimizers.muon.parameters
    matrices = {"pair.weight", "experts"}
    assert set(optimizers.others) == {*matrices, "head.weight", "head.bias", *NORM}
    decays = {id(parameter) for parameter in optimizers.adamw.param_groups[0]["params"]}
    assert {id(network.pair.weight), id(network.experts)} <= decays
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    train(network, optimizers, range(3))
    assert all(not torch.equal(before[name], network.state_dict()[name]) for name in matrices)
    save_file(optimizers.state_dict(), tmp_path / "optimizers.safetensors")
    again = build_optimizers(TinyNetwork(), params, {})
    again.load_state_dict(load_file(tmp_path / "optimizers.safetensors"))
    assert same(again.state_dict(), optimizers.state_dict())


def test_training_lowers_the_loss_and_moves_every_parameter():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ids = torch.arange(1, ITEMS)
    first = F.cross_entropy(network(ids), ids % 5).item()
    train(network, optimizers, range(100))
    assert F.cross_entropy(network(ids), ids % 5).item() < 0.5 * first
    assert all(not torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert not network.items.weight[0].any()


def test_learning_rates_follow_the_factor():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    F.cross_entropy(network(torch.arange(8)), torch.arange(8) % 5).backward()
    optimizers.step(0.0)
    assert same(before, network.state_dict())


def test_each_optimiser_moves_what_is_named_at_its_rate():
    """One step from zero moments: AdamW and Muon move by the rate of what they would."""
    start, moved = TinyNetwork(), {}
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    names = ("items.weight", "pair.weight", "head.weight", "norm.bias")
    for rate in (1.0, 0.25, 0.0):
        network = TinyNetwork()
        network.load_state_dict(before)
        plain = PARAMS.model_copy(update={"weight_decay": 0.0})
        train(network, build_optimizers(network, plain, dict.fromkeys(names, rate)), range(1))
        state = network.state_dict()
        moved[rate] = {name: state[name] - before[name] for name in before}
    for name in before:
        expected = 0.25 if name in names else 1.0
        torch.testing.assert_close(moved[0.25][name], expected * moved[1.0][name])
        assert moved[0.0][name].any() == (name not in names), name


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_clipping_sees_the_common_norm_of_dense_and_sparse_gradients(max_norm):
    network, dense = TinyNetwork(), TinyNetwork()
    dense.items = nn.Embedding.from_pretrained(network.items.weight.detach().clone(), freeze=False)
    dense.items.padding_idx = 0
    ids = torch.tensor([3, 3, 0, 7, 3, 9])  # repeated rows must be summed before they are squared
    for each in (network, dense):
        F.cross_entropy(each(ids), ids % 5).backward()
    norm = build_optimizers(network, PARAMS, {}).clip(max_norm)
    expected = nn.utils.clip_grad_norm_(dense.parameters(), max_norm)
    torch.testing.assert_close(norm, expected)
    for one, two in zip(network.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one.grad.to_dense(), two.grad)


def test_clipping_without_gradients_and_with_broken_ones():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    assert optimizers.clip(1.0) == 0.0
    network.head.bias.grad = torch.full((5,), torch.nan)
    assert not optimizers.clip(1.0).isfinite()


def test_zero_grad_forgets_all():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    network(torch.arange(5)).sum().backward()
    optimizers.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_saved_and_loaded_training_goes_on_to_the_byte(tmp_path):
    whole = TinyNetwork()
    optimizers = build_optimizers(whole, PARAMS, {})
    train(whole, optimizers, range(4))
    save_file(whole.state_dict(), tmp_path / "network.safetensors")
    save_file(optimizers.state_dict(), tmp_path / "optimizers.safetensors")
    train(whole, optimizers, range(4, 8))

    resumed = TinyNetwork()
    resumed.load_state_dict(load_file(tmp_path / "network.safetensors"))
    again = build_optimizers(resumed, PARAMS, {})
    again.load_state_dict(load_file(tmp_path / "optimizers.safetensors"))
    train(resumed, again, range(4, 8))
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(optimizers.state_dict(), again.state_dict())


def test_the_state_is_complete_before_the_first_step():
    network = TinyNetwork()
    optimizers = build_optimizers(network, PARAMS, {})
    before = set(optimizers.state_dict())
    train(network, optimizers, range(1))
    assert set(optimizers.state_dict()) == before
    assert "adamw.head.weight.exp_avg_sq" in before
    assert "muon.experts.momentum" in before
    assert "embedding.items.weight.updates" in before


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_the_state_of_another_network_is_refused_whole(change):
    optimizers = build_optimizers(TinyNetwork(), PARAMS, {})
    state = {name: torch.ones_like(t) for name, t in optimizers.state_dict().items()}
    if change == "missing":
        del state["muon.experts.momentum"]
    elif change == "unknown":
        state["muon.more.momentum"] = torch.zeros(1)
    else:
        state["muon.experts.momentum"] = torch.zeros(4, 8, 8)
    with pytest.raises(InputError, match="optimisers is of another network"):
        optimizers.load_state_dict(state)
    assert not any(tensor.any() for tensor in optimizers.state_dict().values())


def test_no_pydantic_is_needed():
    plain = cast(OptimizerParams, SimpleNamespace(**PARAMS.model_dump()))
    train(network := TinyNetwork(), build_optimizers(network, plain, {}), range(1))
