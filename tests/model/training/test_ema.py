"""The average of weights against its sum."""

import pytest
import torch
from torch import nn

from model.errors import InputError
from model.training.ema import ExponentialMovingAverage


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(network: nn.Module, step: int) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(step)))
    return network


def test_equals_the_weighted_mean_of_all_steps():
    network = nn.Linear(3, 4).double()
    average, seen = ExponentialMovingAverage(network, 0.8), []
    for step in range(6):
        average.update(moved(network, step))
        seen.append(weights(network))
    with average.applied(network):
        shares = torch.tensor([0.8 ** (5 - step) for step in range(6)], dtype=torch.float64)
        for place, found in enumerate(network.parameters()):
            stacked = torch.stack([step[place] for step in seen])
            expected = torch.einsum("s,s...->...", shares / shares.sum(), stacked)
            torch.testing.assert_close(found.detach(), expected)
    for found, last in zip(network.parameters(), seen[-1], strict=True):
        assert torch.equal(found, last)


def test_is_the_weights_themselves_before_and_after_the_first_update():
    network = nn.Linear(3, 4)
    average = ExponentialMovingAverage(network, 0.999)
    before = weights(network)
    with average.applied(network):
        assert torch.equal(network.weight, before[0])
    average.update(network)
    with average.applied(network):
        torch.testing.assert_close(network.weight.detach(), before[0])


def test_weights_come_back_after_an_error():
    network = nn.Linear(3, 4)
    average = ExponentialMovingAverage(network, 0.5)
    average.update(network)
    last = weights(moved(network, 1))
    with pytest.raises(RuntimeError), average.applied(network):
        raise RuntimeError
    assert torch.equal(network.weight, last[0])


def test_saved_and_loaded_it_goes_on_to_the_byte():
    network = nn.Linear(3, 4)
    one = ExponentialMovingAverage(network, 0.9)
    for step in range(3):
        one.update(moved(network, step))
    two = ExponentialMovingAverage(network, 0.9)
    two.load_state_dict({name: tensor.clone() for name, tensor in one.state_dict().items()})
    moved(network, 9)
    one.update(network)
    two.update(network)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])


def test_the_state_of_another_network_is_refused():
    state = ExponentialMovingAverage(nn.Linear(3, 4), 0.9).state_dict()
    with pytest.raises(InputError, match="average of weights is of another network"):
        ExponentialMovingAverage(nn.Linear(3, 5), 0.9).load_state_dict(state)
