"""Which context features a token has, and when they are dropped."""

from dataclasses import replace

import torch

from tests.model.small_network import network_params

SHARE = 0.4


def test_time_bucket_and_popularity_are_dropped_by_themselves_per_token_in_training_alone(data):
    params = network_params(features={"context_dropout": SHARE})
    torch.manual_seed(0)
    tower, batch = data.network(params).context, data.training_batch(params)
    bucketless = batch.calendar * torch.tensor([1, 1, 0])
    unpopular = torch.zeros_like(batch.popularity)
    has_both = (batch.calendar[:, 2] > 0) & (batch.popularity > 0)
    with torch.no_grad():
        found = tower.train()(batch)[has_both]
        tower.eval()
        kept = tower(batch)[has_both]
        without_time = tower(replace(batch, calendar=bucketless))[has_both]
        without_popularity = tower(replace(batch, popularity=unpopular))[has_both]
    neither = without_time + without_popularity - kept
    ways = torch.stack([kept, without_time, without_popularity, neither])
    is_way = (ways - found).abs().amax(dim=2) < 1e-5  # (4, tokens)
    assert (is_way.sum(dim=0) == 1).all()
    expected = torch.tensor([(1 - SHARE) ** 2, *[SHARE * (1 - SHARE)] * 2, SHARE**2])
    torch.testing.assert_close(is_way.float().mean(dim=1), expected, atol=0.1, rtol=0.0)
