"""What guides early stopping, where few items compete."""

import dataclasses

import numpy as np

from model.training.validation import Validation
from tests.model.small_network import CPU, network_params


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
