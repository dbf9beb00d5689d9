"""Packed rows, held against rows that are written event by event."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from model.dataset.packing import Windows
from tests.model.small_network import network_params

PARAMS = network_params()


def _row(batch, row):
    return slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))


def _tokens(data, begin, end):
    """Item ids, actions and times of a row, in a loop: the user token first."""
    interactions = data.interactions
    events = range(begin, end)
    first = int(interactions.timestamps[begin]) if end > begin else 0
    return (
        [0, *(int(interactions.item_ids[e]) for e in events)],
        [0, *(int(interactions.action_types[e]) + 1 for e in events)],
        [first, *(int(interactions.timestamps[e]) for e in events)],
    )


def test_a_training_row_is_the_user_and_the_newest_events_each_predicting_the_next(data):
    dataset = data.dataset(PARAMS)
    users = dataset.training_users()
    batch = dataset.assemble(dataset.training_windows(users))
    interactions = data.interactions
    assert len(users) == sum(
        interactions.train_end[u] > interactions.offsets[u] for u in range(interactions.num_users)
    )
    for row, user in enumerate(users):
        last = int(interactions.train_end[user]) - 1
        begin = max(int(interactions.offsets[user]), last - PARAMS.max_length)
        items, actions, times = _tokens(data, begin, last)
        part = _row(batch, row)
        assert batch.items.ids[batch.token_items[part]].tolist() == items
        assert batch.actions[part].tolist() == actions
        assert batch.timestamps[part].tolist() == times
        targets = [int(interactions.item_ids[e]) for e in range(begin, last + 1)]
        assert batch.target_ids[part].tolist() == targets
        assert batch.items.ids[batch.target_items[part]].tolist() == targets
        asked = [int(interactions.action_types[e]) for e in range(begin, last + 1)]
        assert batch.next_actions[part].tolist() == asked
        assert batch.target_actions[part].tolist() == asked
        assert (batch.rows[part] == row).all()


def test_a_user_without_a_training_event_is_no_training_row(data):
    train_end = np.array(data.interactions.train_end)
    train_end[3] = data.interactions.offsets[3]
    changed = dataclasses.replace(data.interactions, train_end=train_end)
    users = dataclasses.replace(data, interactions=changed).dataset(PARAMS).training_users()
    assert users.tolist() == [u for u in range(data.interactions.num_users) if u != 3]


def test_a_submission_asks_for_the_action_that_the_input_names(data):
    users = np.arange(4)
    named = np.array(data.interactions.target_actions)
    named[users] = [0, 1, 2, -1]
    changed = dataclasses.replace(data.interactions, target_actions=named)
    dataset = dataclasses.replace(data, interactions=changed).dataset(PARAMS)
    asked = dataset.history_windows("submission", users, default_action=2).next_actions
    assert asked.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("part", ["validation", "test", "submission"])
def test_an_evaluation_row_ends_before_its_target_and_knows_only_the_action_asked_for(
    data, part, told
):
    dataset, interactions = data.dataset(PARAMS), data.interactions
    events = {
        "validation": interactions.validation_event,
        "test": interactions.test_event,
        "submission": interactions.offsets[1:],
    }[part]
    users = np.flatnonzero(np.asarray(events) >= 0)
    met = []
    for indices, batch in dataset.evaluation_batches(part, users, 7, default_action=2, told=told):
        assert (np.diff(batch.lengths.numpy()) >= 0).all()  # like lengths stand together
        for row, user in enumerate(indices):
            met.append(user)
            end = int(events[user])
            begin = max(int(interactions.offsets[user]), end - PARAMS.max_length)
            items, _, _ = _tokens(data, begin, end)
            tokens = _row(batch, row)
            assert batch.items.ids[batch.token_items[tokens]].tolist() == items
            own = told and part != "submission"
            asked = int(interactions.action_types[end]) if own else 2
            assert int(batch.next_actions[tokens][-1]) == asked
            assert int(batch.target_ids[tokens][-1]) == 0
            assert int(batch.last[row]) == tokens.stop - 1
    assert sorted(met) == users.tolist()


def test_time_features_are_utc_and_the_user_token_has_none(data):
    dataset = data.dataset(PARAMS)
    batch = dataset.assemble(dataset.training_windows(dataset.training_users()))
    firsts = set(batch.offsets[:-1].tolist())
    for token, time in enumerate(batch.timestamps.tolist()):
        if token in firsts:
            assert batch.calendar[token].tolist() == [0, 0, 0]
            assert batch.gaps[token].tolist() == [0, 0, 0]
            continue
        when = datetime.fromtimestamp(time, UTC)
        assert batch.calendar[token, :2].tolist() == [when.hour + 1, when.isoweekday()]
        if token - 1 in firsts:
            assert batch.gaps[token].tolist() == [0, 0, 0]
            continue
        gap = time - int(batch.timestamps[token - 1])
        days = gap // 86_400
        expected = [days + 1, gap % 86_400 // 3_600 + 1, gap % 3_600 // 60 + 1]
        assert batch.gaps[token].tolist() == ([32, 1, 1] if days >= 31 else expected)


def test_a_switched_off_feature_is_not_computed(data):
    off = network_params(
        features={
            "relative_time": False,
            "absolute_time": False,
            "popularity": False,
            "user_features": False,
        }
    )
    batch = data.training_batch(off)
    assert batch.user_codes == {} != data.training_batch(PARAMS).user_codes
    for codes in (batch.gaps, batch.calendar, batch.popularity):
        assert not codes.any()


@pytest.mark.parametrize("used", [True, False])
def test_a_data_set_knows_whether_the_action_asked_for_is_read(data, used):
    params = network_params(features={"next_action": used})
    assert data.dataset(params).uses_next_action is used


def test_training_rows_know_nothing_of_held_out_events(data):
    """Change every held-out event: every tensor of the training rows stays the same."""
    interactions = data.interactions
    held_out = np.ones(interactions.num_events, bool)
    for user in range(interactions.num_users):
        held_out[interactions.offsets[user] : interactions.train_end[user]] = False
    assert held_out.any()
    items, actions, times = (
        np.array(column)
        for column in (interactions.item_ids, interactions.action_types, interactions.timestamps)
    )
    items[held_out] = 1 + (items[held_out] + 7) % interactions.num_items
    actions[held_out] = (actions[held_out] + 1) % 3
    times[held_out] += 1_000_000
    changed = dataclasses.replace(
        data,
        interactions=dataclasses.replace(
            interactions, item_ids=items, action_types=actions, timestamps=times
        ),
    )
    before, after = data.training_batch(PARAMS), changed.training_batch(PARAMS)
    for field in dataclasses.fields(before):
        one, other = getattr(before, field.name), getattr(after, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other), field.name
    assert torch.equal(before.items.ids, after.items.ids)


def test_a_user_with_one_event_is_a_row_of_one_token(data):
    dataset = data.dataset(PARAMS)
    user = int(np.flatnonzero(np.diff(data.interactions.offsets) == 1)[0])
    batch = dataset.assemble(dataset.training_windows(np.array([user])))
    assert batch.lengths.tolist() == [1]
    event = int(data.interactions.offsets[user])
    assert batch.target_ids.tolist() == [int(data.interactions.item_ids[event])]


def test_a_history_may_be_empty(data):
    """Nothing but the user: what a newcomer asks."""
    dataset = data.dataset(PARAMS)
    begin = np.asarray(data.interactions.offsets[:1])
    windows = Windows(np.array([0]), begin, begin, np.array([1]))
    batch = dataset.assemble(windows)
    assert batch.lengths.tolist() == [1]
    assert batch.next_actions.tolist() == [1]
    assert batch.target_ids.tolist() == [0]
