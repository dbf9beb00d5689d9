"""A training in which no target counts is refused before its first step."""

import dataclasses

import numpy as np
import pytest

from model.errors import InputError
from model.training import targets
from tests.model.training.trainings import train_recommender, training_params


def _of_actions(data, action):
    """The same world where every event has one action."""
    changed = dataclasses.replace(
        data.interactions, action_types=np.full_like(data.interactions.action_types, action)
    )
    return dataclasses.replace(data, interactions=changed)


def test_targets_that_all_weigh_nothing_are_refused(data, tmp_path):
    params = training_params(loss={"action_weights": [0.0, 1.0, 2.5]})
    sentence = (
        r"^recommender_checkpoint\.loss\.action_weights \[0\.0, 1\.0, 2\.5\] gives no weight to "
        r"the actions of the training targets \(only \[0\] occur, of 0 exposure, 1 click"
    )
    with pytest.raises(InputError, match=sentence):
        train_recommender(_of_actions(data, 0), params, tmp_path)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("at_once", [1, 16_384])
def test_only_events_of_training_rows_are_targets(data, monkeypatch, at_once):
    monkeypatch.setattr(targets, "USERS_AT_ONCE", at_once)
    weights, key = [0.0, 0.0, 1.0], "loss.action_weights"
    exposed = _of_actions(data, 0).interactions
    dataset = data.dataset(training_params().network)
    users = dataset.training_users()
    held_out, last = exposed.train_end[users[-1]], exposed.train_end[users[-1]] - 1
    for event, counts in [(held_out, False), (last, True)]:
        actions = exposed.action_types.copy()
        actions[event] = 2
        dataset.interactions = dataclasses.replace(exposed, action_types=actions)
        if counts:
            targets.require_weighted_target(dataset, weights, key)
        else:
            with pytest.raises(InputError, match=r"only \[0\] occur"):
                targets.require_weighted_target(dataset, weights, key)
