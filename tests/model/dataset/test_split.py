"""Who is held out, on histories short enough to see."""

from dataclasses import replace

import numpy as np
import pytest

from model.dataset.split import (
    history_ends,
    require_targets,
    sample_test_users,
    sample_users,
    split_events,
    user_weights,
)
from model.errors import InputError
from model.params import SplitParams
from tests.model.inference.small_world import small_interactions


def split(histories, strategy, validates=True):
    offsets = np.concatenate([[0], np.cumsum([len(actions) for actions in histories])])
    actions = np.array([action for history in histories for action in history], np.int8)
    return split_events(offsets, actions, strategy, np.broadcast_to(validates, len(histories)))


def one(history, strategy):
    found = split([history], strategy)
    return found.train_end[0], found.validation_event[0], found.test_event[0]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([1, 1, 1, 1], (2, 2, 3)),
        ([0, 0, 0], (1, 1, 2)),  # actions do not matter
        ([1, 1], (1, -1, 1)),  # validating on the first event would leave nothing to go by
        ([1], (1, -1, -1)),  # one event: all training, no target
        ([], (0, -1, -1)),
    ],
)
def test_leave_one_out(history, expected):
    assert one(history, "leave_one_out") == expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([0, 1, 0, 2, 0, 0], (1, 1, 3)),  # the last positive tests, the one before validates
        ([0, 0, 1, 0], (2, -1, 2)),
        ([0, 0, 0], (3, -1, -1)),  # nothing positive: everything trains
        ([1, 0, 2], (2, -1, 2)),  # a first event is never a target
        ([2, 0, 0], (3, -1, -1)),
        ([1], (1, -1, -1)),
        ([], (0, -1, -1)),
    ],
)
def test_last_positive(history, expected):
    assert one(history, "last_positive") == expected


@pytest.mark.parametrize("strategy", ["leave_one_out", "last_positive"])
def test_users_do_not_reach_into_each_other(strategy):
    histories = [[1], [0, 1, 2], [], [0, 2], [0], [1, 1, 1, 0]]
    together = split(histories, strategy)
    begin = 0
    for user, history in enumerate(histories):
        alone = np.array(one(history, strategy))
        shifted = np.where(alone >= 0, alone + begin, -1)
        found = (together.train_end, together.validation_event, together.test_event)
        assert [column[user] for column in found] == shifted.tolist()
        begin += len(history)


def test_who_does_not_validate_trains_up_to_the_test_target():
    validates = np.arange(20) % 3 == 0
    found = split([[1, 1, 1, 1]] * 20, "leave_one_out", validates)
    assert ((found.validation_event >= 0) == validates).all()
    np.testing.assert_array_equal(
        found.train_end, np.where(validates, found.validation_event, found.test_event)
    )
    assert (found.test_event >= 0).all()


def test_history_ends_before_the_target_and_a_submission_sees_everything():
    interactions = small_interactions()
    users = np.array([0, 1])
    offsets = interactions.offsets
    assert history_ends(interactions, users[:1], "validation").tolist() == [3]
    assert history_ends(interactions, users, "test").tolist() == [4, offsets[1] + 2]
    assert history_ends(interactions, users, "submission").tolist() == [5, offsets[1] + 3]


def test_a_sample_of_users_is_seeded_and_ascending():
    events = np.where(np.arange(100) % 3 == 0, 5, -1)
    assert sample_users(events, 50, seed=1).tolist() == list(range(0, 100, 3))
    sample = sample_users(events, 10, seed=1)
    assert len(sample) == 10
    assert (np.diff(sample) > 0).all() and (sample % 3 == 0).all()
    assert sample.tolist() == sample_users(events, 10, seed=1).tolist()
    assert sample.tolist() != sample_users(events, 10, seed=2).tolist()


def test_no_test_target_at_all_is_one_sentence():
    nobody = replace(small_interactions(), test_event=np.full(3, -1))
    with pytest.raises(InputError, match="no user has a test target"):
        sample_test_users(nobody, 10, seed=1)


def held_out(histories, strategy, fraction=1.0):
    """Interactions of these actions, and the parameters by which they are split."""
    found = split(histories, strategy, fraction == 1.0)  # of a share nobody is drawn
    actions = np.array([action for history in histories for action in history], np.int8)
    params = SplitParams(strategy=strategy, validation_fraction=fraction)
    data = replace(
        small_interactions(),
        item_ids=np.ones(len(actions), np.int32),
        action_types=actions,
        validation_event=found.validation_event,
        test_event=found.test_event,
    )
    return data, params


@pytest.mark.parametrize(
    ("histories", "strategy", "fraction", "reason"),
    [
        ([[1], [1]], "leave_one_out", 1.0, "validation target.* bring users with three events$"),
        ([[1, 1]] * 9, "leave_one_out", 1.0, "validation target.* bring users with three events$"),
        (
            [[1, 1, 1]] * 9,
            "leave_one_out",
            0.001,
            "by leave_one_out no user has a validation target, and no model could be measured; "
            "bring users with three events or raise validation_fraction$",
        ),
        (
            [[0, 0, 0]],
            "last_positive",
            1.0,
            "by last_positive no user .* two clicks or conversions after a first event or choose "
            "leave_one_out$",
        ),
        (
            [[0, 1, 0]],
            "last_positive",
            0.5,
            "validation target.* or raise validation_fraction or choose leave_one_out$",
        ),
    ],
)
def test_data_that_nothing_could_be_measured_on_is_refused(histories, strategy, fraction, reason):
    with pytest.raises(InputError, match=reason):
        require_targets(*held_out(histories, strategy, fraction), (1.0, 1.0, 1.0))


def test_targets_that_weigh_nothing_are_refused():
    data, params = held_out([[1, 1, 0], [0, 1, 0]], "leave_one_out")
    require_targets(data, params, (1.0, 1.0, 0.0))
    assert user_weights(data, np.array([1]), "validation", (0.5, 2.0, 3.0)).tolist() == [2.0]
    with pytest.raises(InputError, match=r"of the test targets \(only \[0\] occur"):
        require_targets(data, params, (0.0, 1.0, 2.5))
    with pytest.raises(InputError, match=r"of the validation targets \(only \[1\] occur"):
        require_targets(data, params, (1.0, 0.0, 2.5))


def test_one_user_of_each_is_enough_and_vectors_need_none():
    require_targets(*held_out([[1], [0, 1, 2]], "last_positive"), (0.0, 1.0, 2.5))
    require_targets(*held_out([[], []], "leave_one_out"), (0.0, 1.0, 2.5))
