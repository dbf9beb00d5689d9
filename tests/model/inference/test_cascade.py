"""The cascade against a loop over users, beams and items."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.inference import cascade
from model.inference.cascade import BACK_FILL, BEAM, NUM_RECOMMENDATIONS, rank, recommend
from model.inference.recommender import Recommender
from model.inference.search import ExactSearch, VectorSearch
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions

USERS = np.arange(9)


def slow_recommend(
    recommender: Recommender, user: int, beam_weight: float
) -> list[tuple[int, float, int]]:
    """(item id, score, path) of one user's ten, one step at a time."""
    params, catalogue = recommender.params, recommender.catalogue
    interactions = recommender.interactions
    events = range(interactions.offsets[user], interactions.test_event[user])
    seen = {
        int(interactions.item_ids[e])
        for e in events
        if interactions.action_types[e] in params.filter_history
    }
    vector = recommender.network.user_vectors[user]
    vector = vector / vector.norm()
    items = catalogue.item_ids.tolist()
    sid_of = {item: tuple(sid) for item, sid in zip(items, catalogue.sids.tolist(), strict=True)}
    legal = {sid for sid in sid_of.values() if all(sid)}
    decoder, quota = recommender.network.decoder, (params.beam_width, params.num_sids)
    log_probs = decoder.log_probs(user, legal, *quota)
    kept = sorted(log_probs, key=lambda sid: -log_probs[sid])[: params.num_sids]

    def similarity(item: int) -> float:
        row = catalogue.rows[item]
        cosine = float(catalogue.vectors[row] @ vector)
        return cosine - params.logq_weight * float(catalogue.log_q[row])

    proposed = [item for item in sid_of if sid_of[item] in kept]
    ranked = [
        (item, similarity(item) + beam_weight * log_probs[sid_of[item]], BEAM)
        for item in proposed
        if item not in seen
    ]
    spare = [
        (item, similarity(item), BACK_FILL)
        for item in sid_of
        if item not in seen and item not in proposed
    ]
    ranked.sort(key=lambda entry: -entry[1])
    spare.sort(key=lambda entry: -entry[1])
    taken: list[tuple[int, float, int]] = []
    used: dict[int, int] = {}
    for entry in ranked + spare:
        group = int(catalogue.groups[catalogue.rows[entry[0]]])
        used[group] = used.get(group, 0) + 1
        if params.max_per_group == 0 or group == 0 or used[group] <= params.max_per_group:
            taken.append(entry)
    return taken[:10]


@pytest.mark.parametrize(
    ("changes", "beam_weight", "sizes"),
    [
        ({}, 0.0, (4, 5)),  # several items per semantic ID, back-fill where beams give few
        ({"num_sids": 40, "beam_width": 8}, 0.0, (4, 5)),  # all legal IDs
        ({"num_sids": 2}, 0.3, (4, 5)),  # nearly everything is filled up
        ({}, 0.3, (4, 5)),  # blended
        ({"logq_weight": 0.2}, 0.1, (4, 5)),  # popularity corrected, in beams and in search
        ({"filter_history": []}, 0.0, (4, 5)),  # seen items may come again
        ({"filter_history": [1]}, 0.0, (4, 5)),  # clicked ones may not
        ({"max_per_group": 2}, 0.2, (4, 5)),  # at most two of a group, back-fill included
        ({"max_per_group": 1, "num_sids": 3}, 0.0, (4, 5)),
        ({"num_sids": 9}, 0.1, (3, 3, 4)),  # three levels
        ({"num_sids": 0}, 0.3, (4, 5)),  # search alone
        ({"num_sids": 0, "max_per_group": 1, "logq_weight": 0.2}, 0.0, (4, 5)),
    ],
)
def test_equals_the_loop(changes, beam_weight, sizes):
    interactions = random_interactions(9, 60)
    recommender = fake_recommender(interactions, cascade_params(**changes), sizes=sizes)
    made = recommend(recommender, "test", USERS, beam_weight=beam_weight)
    for user in USERS:
        expected = slow_recommend(recommender, user, beam_weight)
        n = len(expected)
        assert made.item_ids[user, :n].tolist() == [item for item, _, _ in expected]
        np.testing.assert_allclose(made.scores[user, :n], [s for _, s, _ in expected], rtol=1e-4)
        assert made.path[user, :n].tolist() == [path for _, _, path in expected]
        assert (made.item_ids[user, n:] == 0).all()
        sids = recommender.catalogue.sids[recommender.catalogue.rows[made.item_ids[user, :n]]]
        assert made.sids[user, :n].tolist() == sids.tolist()


def test_both_paths_occur_in_the_cases_above():
    recommender = fake_recommender(random_interactions(9, 60), cascade_params(num_sids=2))
    made = recommend(recommender, "test", USERS, beam_weight=0.0)
    assert set(made.path.ravel().tolist()) == {BEAM, BACK_FILL}


def test_an_item_without_a_semantic_id_is_found_by_search_only():
    interactions = random_interactions(9, 12)
    recommender = fake_recommender(interactions, cascade_params(num_sids=30), without_sid=4)
    made = recommend(recommender, "test", USERS, beam_weight=0.0)
    without = (made.sids == 0).all(axis=2) & (made.item_ids > 0)
    assert without.any()
    assert (made.path[without] == BACK_FILL).all()


def test_search_alone_asks_no_decoder(monkeypatch):
    recommender = fake_recommender(random_interactions(9, 60), cascade_params(num_sids=0))
    monkeypatch.setattr(recommender.network, "start_decoding", lambda encoded: pytest.fail("asked"))
    made = recommend(recommender, "test", USERS, beam_weight=0.3)
    assert (made.item_ids > 0).all()
    assert (made.path == BACK_FILL).all()


def test_fewer_than_ten_items_leave_gaps_and_never_the_last_item():
    interactions = random_interactions(5, 8)
    recommender = fake_recommender(
        interactions, cascade_params(filter_history=[], filter_cold=False)
    )
    made = recommend(recommender, "test", np.arange(5), beam_weight=0.0)
    assert (np.sort(made.item_ids)[:, 2:] == np.arange(1, 9)).all()
    assert (made.item_ids[:, 8:] == 0).all()
    assert (made.scores[:, 8:] == -np.inf).all()


def test_batches_do_not_change_the_lists():
    interactions = random_interactions(9, 60)
    one = fake_recommender(interactions, cascade_params(batch_size=1))
    many = fake_recommender(interactions, cascade_params(batch_size=9))
    a = recommend(one, "test", USERS, beam_weight=0.1)
    b = recommend(many, "test", USERS, beam_weight=0.1)
    assert np.array_equal(a.item_ids, b.item_ids)
    torch.testing.assert_close(a.scores, b.scores)


class Watched:
    """A search that notes how many items it was asked for, user by user; not exact by its type."""

    def __init__(self, search: VectorSearch) -> None:
        self.search_below, self.asked = search, []

    def search(self, queries, k, seen):
        self.asked.append((len(queries), k))
        return self.search_below.search(queries, k, seen)


def capped_recommender(num_groups: int) -> Recommender:
    """400 items, every one in a group, and one of each group for a user."""
    recommender = fake_recommender(
        random_interactions(9, 400),
        cascade_params(max_per_group=1, num_sids=1, filter_cold=False),
    )
    groups = torch.arange(400) % num_groups + 1
    return replace(
        recommender,
        catalogue=replace(recommender.catalogue, groups=groups),
        search=Watched(recommender.search),
    )


def test_a_cap_that_ten_items_cannot_meet_does_not_search_the_whole_catalogue():
    recommender = capped_recommender(5)
    made = recommend(recommender, "test", USERS, beam_weight=0.0)
    for user in USERS:
        expected = slow_recommend(recommender, user, 0.0)
        assert len(expected) == 5
        assert made.item_ids[user].tolist() == [item for item, _, _ in expected] + [0] * 5
    assert max(depth for _, depth in recommender.search.asked) < 400


@pytest.mark.parametrize("found_at_once", [1, 50, 2**22])
def test_only_those_who_lack_items_are_searched_deeper_piece_by_piece(found_at_once, monkeypatch):
    monkeypatch.setattr(cascade, "FOUND_AT_ONCE", found_at_once)
    recommender = capped_recommender(10)
    made = recommend(recommender, "test", USERS, beam_weight=0.0)
    for user in USERS:
        expected = slow_recommend(recommender, user, 0.0)
        assert made.item_ids[user].tolist() == [item for item, _, _ in expected]
    asked = recommender.search.asked
    deeper = sum(users for users, depth in asked if depth == 40)
    assert 0 < deeper < sum(users for users, depth in asked if depth == 10)
    assert all(users == 1 or users * depth <= found_at_once for users, depth in asked)


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_exact_search_passes_full_groups_over_instead_of_digging_below_them(cap, monkeypatch):
    """Most items are of one group, a few of none; the lists are those of a deep search."""
    recommender = capped_recommender(10)
    recommender = replace(
        recommender, params=recommender.params.model_copy(update={"max_per_group": cap})
    )
    groups = torch.where(torch.arange(400) < 20, torch.arange(400) % 10, 7)
    catalogue = replace(recommender.catalogue, groups=groups)
    deep = replace(recommender, catalogue=catalogue)
    expected = recommend(deep, "test", USERS, beam_weight=0.1)
    assert max(depth for _, depth in deep.search.asked) == 400
    asked, search = [], ExactSearch.search

    def watched(self, queries, k, *others):
        asked.append((len(queries), k))
        return search(self, queries, k, *others)

    monkeypatch.setattr(ExactSearch, "search", watched)
    exact = replace(deep, search=deep.search.search_below)
    made = recommend(exact, "test", USERS, beam_weight=0.1)
    assert {depth for _, depth in asked} == {10}
    for name in ("item_ids", "path", "sids"):
        assert np.array_equal(getattr(made, name), getattr(expected, name)), name
    np.testing.assert_allclose(made.scores, expected.scores, rtol=1e-5)
    for user in USERS:
        slow = slow_recommend(exact, user, 0.1)
        assert made.item_ids[user, : len(slow)].tolist() == [item for item, _, _ in slow]


def test_behind_the_first_ten_of_a_longer_list_there_are_proposals_alone():
    params = cascade_params(num_sids=2, filter_history=[], filter_cold=False)
    recommender = fake_recommender(random_interactions(9, 30), params)
    (proposals,) = recommender.propose("test", USERS[:1])
    num_proposed = int((proposals.rows >= 0).sum())
    assert 0 < num_proposed < NUM_RECOMMENDATIONS
    ranked = rank(recommender, proposals, beam_weight=0.0, num_results=20)
    assert (ranked.rows[0] >= 0).tolist() == [True] * 10 + [False] * 10
    assert (ranked.path[0, :10] == BEAM).sum() == num_proposed
