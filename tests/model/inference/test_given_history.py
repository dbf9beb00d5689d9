"""A history that is in no log becomes the only user's."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model.dataset.csr import offsets_of
from model.dataset.features import ArrayColumn, FeatureTable, ScalarColumns
from model.dataset.interactions import CLICK, CONVERSION
from model.dataset.split import history_ends
from model.errors import InputError
from model.inference.given_history import GIVEN_USER, with_given_history
from tests.model.inference.fakes import random_interactions

LAST_MOMENT = 1_750_000_000
STATISTICS: Any = SimpleNamespace(bucket_boundaries=np.array([0, LAST_MOMENT + 1]))
USERS = 6


@pytest.fixture
def interactions():
    events = random_interactions(USERS, 40)
    lengths = np.arange(USERS + 1) % 3
    users = FeatureTable(
        num_rows=USERS + 1,
        scalars=ScalarColumns(["103"], np.arange(USERS + 1, dtype=np.int32)[:, None]),
        arrays={"106": ArrayColumn(offsets_of(lengths), np.arange(lengths.sum(), dtype=np.int32))},
        vocabulary_sizes={"103": USERS, "106": int(lengths.sum())},
        vocabulary_digests={"103": "meaning"},
    )
    asked = np.array([-1, 1, 2, -1, 2, 1], np.int8)
    return replace(events, users=users, target_actions=asked)


def _raw(items):
    return [str(499 + item) for item in items]


def test_of_nobody_it_is_the_given_items_up_to_the_last_moment(interactions):
    given = with_given_history(interactions, STATISTICS, _raw([7, 3, 7]), action=CONVERSION)
    assert given.num_users == 1
    assert given.item_ids.tolist() == [7, 3, 7]
    assert given.item_ids.dtype == np.int32
    assert given.action_types.tolist() == [CONVERSION] * 3
    assert given.timestamps.tolist() == [LAST_MOMENT - 120, LAST_MOMENT - 60, LAST_MOMENT]
    assert given.raw_user_ids.to_pylist() == [GIVEN_USER]
    assert given.target_actions.tolist() == [-1]
    assert given.users.scalars["103"].tolist() == [0, 0]
    assert given.users.arrays["106"].gather(np.array([1])).tolist() == [[0]]


@pytest.mark.parametrize("user", range(USERS))
def test_after_a_users_own_events_with_that_users_features(interactions, user):
    name = interactions.raw_user_ids[user].as_py()
    given = with_given_history(interactions, STATISTICS, _raw([40]), action=CLICK, user=name)
    begin, end = interactions.offsets[user : user + 2]
    for column, last in (("item_ids", 40), ("action_types", CLICK)):
        own = getattr(interactions, column)
        assert getattr(given, column).tolist() == [*own[begin:end].tolist(), last], column
        assert getattr(given, column).dtype == own.dtype, column
    assert (np.diff(given.timestamps) > 0).all()
    assert given.timestamps[-1] == LAST_MOMENT
    assert given.raw_user_ids.to_pylist() == [name]
    assert given.target_actions[0] == interactions.target_actions[user]
    assert given.users.scalars["103"].tolist() == [0, user + 1]
    wanted, found = (
        table.arrays["106"].gather(np.array([row])).tolist()
        for table, row in ((interactions.users, user + 1), (given.users, 1))
    )
    assert found == wanted
    assert given.users.vocabulary_digests == interactions.users.vocabulary_digests


def test_nothing_is_held_out_of_it(interactions):
    given = with_given_history(interactions, STATISTICS, _raw([1, 2]), action=CLICK)
    one = np.array([0])
    assert history_ends(given, one, "submission").tolist() == [2]
    assert history_ends(given, one, "test").tolist() == [-1]
    assert history_ends(given, one, "validation").tolist() == [-1]
    assert given.train_end.tolist() == [2]


def test_it_is_never_before_the_users_last_event(interactions):
    late = replace(interactions, timestamps=interactions.timestamps + LAST_MOMENT)
    user = late.raw_user_ids[2].as_py()
    given = with_given_history(late, STATISTICS, _raw([5, 6]), action=CLICK, user=user)
    assert np.diff(given.timestamps)[-2:].tolist() == [60, 60]


@pytest.mark.parametrize(
    ("items", "user", "told"),
    [
        (["500", "typo"], None, "no item 'typo' in this data; ids look like '500'"),
        (["500"], "nobody", "no user 'nobody' in this data; ids look like 'user_000'"),
        ([], None, "a history without any event; name an item, or a user who has some"),
    ],
)
def test_what_is_not_in_the_data_is_named(interactions, items, user, told):
    with pytest.raises(InputError) as refused:
        with_given_history(interactions, STATISTICS, items, action=CLICK, user=user)
    assert str(refused.value) == told
