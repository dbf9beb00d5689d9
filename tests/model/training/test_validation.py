"""What guides early stopping, where few items compete."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.dataset.interactions import CLICK
from model.training import validation as module
from model.training.validation import Validation
from tests.model.small_network import CPU, network_params


@pytest.mark.parametrize("scores_at_once", [1, 20_000_000])
def test_figures_are_those_of_a_loop_over_users_and_a_full_sort(data, monkeypatch, scores_at_once):
    """Among all candidates, or among so few that lists stay short and targets are missing."""
    monkeypatch.setitem(module.SCORES_AT_ONCE, "cpu", scores_at_once)
    params = network_params()
    network = data.network(params).eval()
    for candidates in (data.interactions.candidate_item_ids, np.array([3, 4, 8, 61, 62])):
        changed = dataclasses.replace(data.interactions, candidate_item_ids=candidates)
        dataset = dataclasses.replace(data, interactions=changed).dataset(params)
        validation = Validation(dataset, data.statistics.popularity, 100, 0)
        found = validation.measure(network, CPU)
        assert found == pytest.approx(_figures(data, dataset, candidates, network), rel=1e-6)
        assert 0.0 < found["ndcg@10"] < found["hr@10"] < 1.0


def _figures(data, dataset, candidates, network):
    interactions = data.interactions
    items = [int(item) for item in candidates if data.statistics.popularity[item] > 0]
    with torch.inference_mode():
        vectors = network.embed_items(data.features.gather(torch.tensor(items)))
        hits, gains = [], []
        for user in np.flatnonzero(interactions.validation_event >= 0):
            ((_, batch),) = dataset.evaluation_batches(
                "validation", np.array([user]), 1, default_action=CLICK
            )
            cosines = F.cosine_similarity(network.encode(batch).hidden[batch.last], vectors)
            event = int(interactions.validation_event[user])
            seen = set(interactions.item_ids[int(interactions.offsets[user]) : event].tolist())
            ordered = [items[place] for place in cosines.argsort(descending=True).tolist()]
            best = [item for item in ordered if item not in seen][:10]
            target = int(interactions.item_ids[event])
            hits.append(target in best)
            gains.append(1 / np.log2(best.index(target) + 2) if target in best else 0.0)
    return {"hr@10": float(np.mean(hits)), "ndcg@10": float(np.mean(gains))}


def test_a_target_that_its_user_has_seen_is_never_found(data):
    """Also where the list has room for every item there is."""
    interactions = data.interactions
    targets = np.asarray(interactions.validation_event)
    user = int(np.argmax(targets - np.asarray(interactions.offsets[:-1])))  # the longest history
    history = slice(int(interactions.offsets[user]), int(targets[user]))
    seen = np.unique(interactions.item_ids[history])[:5]
    items = np.asarray(interactions.item_ids).copy()
    items[targets[user]] = seen[0]
    only = np.where(np.arange(len(targets)) == user, targets, -1)
    changed = dataclasses.replace(
        interactions, item_ids=items, validation_event=only, candidate_item_ids=seen
    )
    params = network_params()
    dataset = dataclasses.replace(data, interactions=changed).dataset(params)
    validation = Validation(dataset, data.statistics.popularity, 10, 0)
    assert len(validation.items) > 1
    found = validation.measure(data.network(params).eval(), CPU)
    assert found == {"hr@10": 0.0, "ndcg@10": 0.0}
