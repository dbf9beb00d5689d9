"""The objective of a batch against its formulas on whole matrices."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.network.losses import inclusion_log_probability
from model.training.objective import Objective, Totals
from model.training.streaming_logq import StreamingLogQ
from tests.model.small_network import network_params, pipeline_params

PARAMS = network_params(feed_forward={"kind": "none"}, features={"context_dropout": 0.0})


def _loss_params(**changes):
    values = pipeline_params().recommender_checkpoint.loss.model_dump() | changes
    return SimpleNamespace(**values)


def _objective(data, **changes):
    params = _loss_params(**changes)
    codes = torch.from_numpy(data.codes)
    log_q = torch.from_numpy(data.statistics.log_q.copy())
    return Objective(
        data.network(PARAMS),
        params,
        log_q,
        codes,
        data.interactions.num_known_items,
    )


def _totals(objective, batch):
    return Totals(*objective.measure(batch).tolist())


def _logits(objective, batch):
    encoded = objective.network.encode(batch)
    queries = F.normalize(encoded.hidden, dim=1) / objective.params.temperature
    return queries @ F.normalize(encoded.item_vectors[1:], dim=1).T


@pytest.mark.parametrize("logq", ["none", "static"])
def test_infonce_is_a_softmax_over_the_distinct_items_of_the_batch(data, logq):
    objective = _objective(data, logq=logq, sid_weights=[], action_weights=(0.5, 1.0, 2.0))
    batch = data.training_batch(PARAMS)
    totals = _totals(objective, batch)
    _, terms = objective(batch, totals)
    logits = _logits(objective, batch)
    if logq == "static":
        log_q = objective.log_q[batch.items.ids[1:]]
        logits = logits - inclusion_log_probability(
            log_q, len(batch.target_ids), num_uniform=0, num_items=60
        )
    rows = F.cross_entropy(logits, batch.target_items - 1, reduction="none")
    weights = torch.tensor([0.5, 1.0, 2.0])[batch.target_actions]
    assert float(terms[0]) == pytest.approx(float((rows * weights).sum() / weights.sum()), rel=1e-5)


def test_logq_knows_the_micro_batch_not_the_step(data):
    """The probability of being a negative does not rise because the step has other batches."""
    objective = _objective(data, logq="static", num_uniform_negatives=5)
    dataset = data.dataset(PARAMS)
    users = dataset.training_users()
    small = dataset.assemble(dataset.training_windows(users[:4]))
    ids = small.items.ids[1:]
    found = -objective._correction(ids, small)
    expected = inclusion_log_probability(
        objective.log_q[ids], len(small.target_ids), num_uniform=5, num_items=60
    )
    assert torch.equal(found, expected)
    generator = np.random.default_rng(0)
    found, believed = [], []
    for _ in range(200):
        windows = dataset.training_windows(generator.choice(users, 4, replace=False))
        batch = dataset.assemble(windows, extra_items=generator.integers(1, 61, 5))
        found.append((batch.items.ids[1:] <= 60).sum() / 60)
        believed.append((-objective._correction(torch.arange(1, 61), batch)).exp().mean())
    assert float(sum(believed)) == pytest.approx(float(sum(found)), rel=0.1)


def test_an_item_stands_among_the_negatives_once(data):
    """So the positive of a row can never be one of its negatives."""
    batch = data.training_batch(PARAMS)
    assert len(batch.items.ids) == len(batch.items.ids.unique())
    assert torch.equal(batch.items.ids[batch.target_items], batch.target_ids)
    assert len(batch.target_ids) > len(batch.target_ids.unique())  # and there were hits to avoid


def test_levels_are_cross_entropies_and_items_without_a_semantic_id_are_ignored(data):
    objective = _objective(data, action_weights=(0.5, 1.0, 2.0))
    batch = data.training_batch(PARAMS)
    _, terms = objective(batch, _totals(objective, batch))
    sids = objective.sids(batch)
    has_sid = (sids > 0).all(dim=1)
    assert 0 < int(has_sid.sum()) < len(sids)
    weights = torch.tensor([0.5, 1.0, 2.0])[batch.target_actions[has_sid]]
    encoded = objective.network.encode(batch)
    queries = objective.network.decoder(encoded.hidden, encoded.plan, sids)
    for level, query in enumerate(queries, 1):
        weight = objective.network.decoder.output_weight(level)[1:]
        logits = query @ weight.T + objective.network.decoder.output_bias(level)[1:]
        rows = F.cross_entropy(logits[has_sid], sids[has_sid, level - 1] - 1, reduction="none")
        expected = (rows * weights).sum() / weights.sum()
        assert float(terms[level]) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_is_the_weighted_sum_of_its_terms(data):
    objective = _objective(data, infonce_weight=0.5, sid_weights=[2.0, 0.25])
    batch = data.training_batch(PARAMS)
    loss, terms = objective(batch, _totals(objective, batch))
    infonce, first, second, balance = terms.tolist()
    assert float(loss) == pytest.approx(0.5 * infonce + 2 * first + 0.25 * second + balance)


@pytest.mark.parametrize("logq", ["none", "static"])
def test_micro_batches_add_up_to_the_whole(data, logq):
    """Not a mean of means: every target weighs the same, wherever it stands.

    Of the whole catalogue there is nothing to correct: logQ would depend on the micro-batch.
    """
    objective = _objective(data, negatives="full_catalogue", logq=logq)
    dataset = data.dataset(PARAMS)
    users = dataset.training_users()
    everything = torch.arange(1, data.interactions.num_items + 1).numpy()
    batches = [
        dataset.assemble(dataset.training_windows(part), extra_items=everything)
        for part in (users, users[:7], users[7:])
    ]
    totals = _totals(objective, batches[0])
    whole, first, second = (objective(batch, totals)[0] for batch in batches)
    assert float(whole) == pytest.approx(float(first + second), rel=1e-5)


def test_streaming_logq_learns_how_often_an_item_comes():
    estimate = StreamingLogQ(4)
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.0, 0.9, 0.3, 0.05])
    for _ in range(3000):
        ids = (torch.rand(4, generator=generator) < shares).nonzero().flatten()
        estimate.update(ids)
    found = estimate(torch.tensor([1, 2, 3])).exp()
    assert torch.allclose(found, shares[1:], rtol=0.5)


def test_streaming_logq_holds_an_item_that_never_came_for_the_rarest():
    estimate = StreamingLogQ(4)
    assert estimate(torch.tensor([0])).tolist() == [0.0]  # before the first batch nobody knows
    for ids in ([1, 2], [1], [1], [1, 3], [1]):
        estimate.update(torch.tensor(ids))
    never, always, early, late = estimate(torch.arange(4)).exp().tolist()
    assert never == pytest.approx(1 / 5)
    assert never < late < early == always == 1.0
