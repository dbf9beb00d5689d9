"""Ten items for everyone, or a sentence before anything is trained."""

import dataclasses

import numpy as np
import pytest

from model.dataset.features import ScalarColumns
from model.dataset.item_statistics import compute_item_statistics
from model.dataset.recommendable import require_enough_candidates
from model.errors import InputError
from model.params import Params
from tests.tiny import NUM_COLD, PARAMS_FILE, write_tiny_world

PARAMS = Params.load(PARAMS_FILE)


@pytest.fixture(scope="module")
def interactions(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny")).interactions()


@pytest.fixture(scope="module")
def counts(interactions):
    return compute_item_statistics(interactions, PARAMS.item_statistics).popularity


def require(interactions, counts, **cascade):
    values = {"filter_cold": False, "filter_history": [], "blocked_items": ()} | cascade
    require_enough_candidates(interactions, counts, PARAMS.cascade.model_copy(update=values))


def with_candidates(interactions, number):
    some = interactions.candidate_item_ids[-number:]
    return dataclasses.replace(interactions, candidate_item_ids=some)


def test_ten_candidates_are_enough(interactions, counts, caplog):
    require(interactions, counts, filter_cold=True, filter_history=[0, 1, 2])
    require(with_candidates(interactions, 10), counts)
    assert caplog.text == ""


def test_nine_are_not(interactions, counts):
    few = with_candidates(interactions, 9)
    with pytest.raises(InputError, match=r"^only 9 of 9 candidates may be recommended and every"):
        require(few, counts)


def test_cold_candidates_do_not_count_where_they_are_filtered(interactions, counts):
    few = with_candidates(interactions, NUM_COLD + 9)
    require(few, counts)
    with pytest.raises(InputError, match=r"^only \d of 17 .* relax cascade\.filter_cold"):
        require(few, counts, filter_cold=True)


def test_what_the_filters_name_must_be_in_the_data(interactions, counts):
    with pytest.raises(InputError, match="blocked_items names 'nobody'"):
        require(interactions, counts, blocked_items=("nobody",))
    require(interactions, counts, group_feature="nothing")
    with pytest.raises(InputError, match="group_feature: 'nothing' is no item feature"):
        require(interactions, counts, max_per_group=1, group_feature="nothing")


def test_a_cap_must_leave_ten(interactions, counts):
    groups = np.arange(interactions.num_items + 1) % 4 + 1
    items = dataclasses.replace(interactions.items, scalars=ScalarColumns(["102"], groups[:, None]))
    capped = dataclasses.replace(interactions, items=items)
    require(capped, counts, max_per_group=3, group_feature="102")
    with pytest.raises(InputError, match=r"max_per_group: 2 of each of the 4 values .* 8 items"):
        require(capped, counts, max_per_group=2, group_feature="102")


def test_blocked_candidates_do_not_count(interactions, counts):
    few = with_candidates(interactions, 11)
    blocked = interactions.raw_item_ids.take(few.candidate_item_ids[:2] - 1).to_pylist()
    require(few, counts, blocked_items=(int(blocked[0]),))
    with pytest.raises(InputError, match="only 9 of 11"):
        require(few, counts, blocked_items=(int(blocked[0]), blocked[1]))


def test_users_who_have_seen_too_much_are_named(interactions, counts, caplog):
    items = np.unique(interactions.item_ids)
    few = dataclasses.replace(interactions, candidate_item_ids=items[:14])
    short = []
    for user in range(few.num_users):
        events = slice(*few.offsets[user : user + 2])
        hidden = few.item_ids[events][few.action_types[events] != 1]
        if len(np.intersect1d(hidden, items[:14])) > 4:
            short.append(few.raw_user_ids[user].as_py())
    assert short
    for _ in range(2):  # by two steps of a run: said once
        require(few, counts, filter_history=[0, 2])
    assert caplog.text.count("has seen so many") == 1
    assert f"user {short[0]} (of {len(short)} such users) has seen so many of the 14" in caplog.text
    cascade = {"filter_cold": False, "filter_history": [0, 2], "blocked_items": ()}
    params = PARAMS.cascade.model_copy(update=cascade)
    with pytest.raises(InputError, match=f"^user {short[0]} .* or take such users' events out"):
        require_enough_candidates(few, counts, params, of_everyone=True)


def test_users_whose_rest_a_cap_cuts_below_ten_are_named(interactions, counts, caplog):
    few = dataclasses.replace(
        interactions, candidate_item_ids=np.unique(interactions.item_ids)[:40]
    )
    groups = np.arange(few.num_items + 1) % 4  # 0 is no group
    items = dataclasses.replace(few.items, scalars=ScalarColumns(["102"], groups[:, None]))
    few = dataclasses.replace(few, items=items)
    short = []
    for user in range(few.num_users):
        rest = np.setdiff1d(few.candidate_item_ids, few.item_ids[slice(*few.offsets[user:][:2])])
        sizes = np.bincount(groups[rest], minlength=4)
        if sizes[0] + np.minimum(sizes[1:], 1).sum() < 10:
            short.append(few.raw_user_ids[user].as_py())
    assert 0 < len(short) < few.num_users
    require(few, counts, filter_history=[0, 1, 2])
    assert caplog.text == ""
    capped = {"max_per_group": 1, "group_feature": "102"}
    require(few, counts, filter_history=[0, 1, 2], **capped)
    assert f"user {short[0]} (of {len(short)} such users)" in caplog.text
    assert "fewer than 10 are left within cascade.max_per_group" in caplog.text


def test_vectors_without_events_are_let_pass(interactions, counts):
    nothing = dataclasses.replace(
        with_candidates(interactions, 3),
        item_ids=interactions.item_ids[:0],
        offsets=np.zeros_like(interactions.offsets),
    )
    require(nothing, counts, filter_cold=True)
