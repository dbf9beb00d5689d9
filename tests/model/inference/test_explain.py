"""An explanation says what the recommendation did."""

import itertools
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from model.errors import InputError
from model.inference import explain
from model.inference.cascade import recommend
from model.inference.explain import explain_user
from model.inference.explain_page import FATES, as_page, as_text, counts, fate_of, verdict
from model.inference.loss_funnel import Fate
from model.inference.paths import rank_paths
from tests.model.inference.fakes import (
    cascade_params,
    fake_recommender,
    random_interactions,
    training_counts,
)

USER = 4


def _codes(recommender):
    """The semantic IDs of all items: those of the catalogue, and [7, 7] of what is not in it."""
    catalogue = recommender.catalogue
    codes = np.full((recommender.interactions.num_items + 1, catalogue.sids.shape[1]), 7, np.int32)
    codes[0] = 0
    codes[catalogue.item_ids] = catalogue.sids
    return codes


@pytest.fixture(scope="module")
def recommender():
    params = cascade_params(max_per_group=2, num_sids=12, beam_width=4)
    return fake_recommender(random_interactions(9, 60), params)


@pytest.fixture(scope="module")
def explanation(recommender):
    return explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")


def test_names_the_ten_in_their_order_with_their_scores(recommender, explanation):
    made = recommend(recommender, "test", np.array([USER]), beam_weight=0.1)
    ten = explanation.candidates[:10]
    assert [c.place for c in ten] == list(range(1, 11))
    assert [c.item for c in ten] == [str(499 + item) for item in made.item_ids[0]]
    np.testing.assert_allclose([c.score for c in ten], made.scores[0], rtol=1e-5)
    for candidate, path in zip(ten, made.path[0], strict=True):
        assert verdict(candidate, explanation) == f"recommended ({('beam', 'back-fill')[path]})"
        assert (candidate.log_prob is None) == (path == 1)


def test_every_proposal_has_one_verdict(recommender, explanation):
    told = counts(explanation)
    parts = ("filtered: in the history", "filtered: group cap", "ranked below ten")
    proposed = sum(told[name] for name in parts) + told["recommended from the beams"]
    assert proposed == told["proposed by the beams"]
    assert told["recommended from the beams"] + told["recommended by back-fill"] == 10
    proposals = next(recommender.propose("test", np.array([USER])))
    assert told["filtered: in the history"] == int(proposals.hidden.sum())
    assert told["filtered: group cap"] > 0


def test_history_is_the_visible_one_newest_first(recommender, explanation):
    interactions = recommender.interactions
    begin, end = interactions.offsets[USER], interactions.test_event[USER]
    items = [str(499 + item) for item in interactions.item_ids[begin:end][::-1]]
    assert [event.item for event in explanation.history] == items
    assert explanation.history_length == len(items)
    first = explanation.history[0].timestamp
    assert first == interactions.timestamps[end - 1]
    assert f"\n  {np.datetime64(first, 's')}".replace("T", " ") in as_text(explanation)
    assert explanation.target.item == str(499 + interactions.item_ids[end])


def test_history_has_the_semantic_ids_of_items_that_are_no_candidates(recommender, explanation):
    interactions, rows = recommender.interactions, recommender.catalogue.rows
    begin, end = interactions.offsets[USER], interactions.test_event[USER]
    ids = interactions.item_ids[begin:end][::-1]
    assert (rows[ids] < 0).any()
    for event, item in zip(explanation.history, ids, strict=True):
        assert (event.sid == (7, 7)) == (rows[item] < 0)


def test_says_what_became_of_the_held_out_item(recommender):
    """The same as the evaluation counts, also where it is not among the items shown."""
    users = np.flatnonzero(recommender.interactions.test_event >= 0)
    lists = rank_paths(recommender, users, 0.1, [10])
    seen = set()
    for user, fate in zip(users, lists.fate, strict=True):
        raw_id = recommender.interactions.raw_user_ids[int(user)].as_py()
        told = explain_user(recommender, _codes(recommender), raw_id, beam_weight=0.1, part="test")
        assert told.target.fate == fate
        assert fate_of(told.target).startswith(FATES[Fate(fate)])
        assert f": {fate_of(told.target)}" in as_text(told)
        seen.add(Fate(fate))
    assert len(seen) >= 3


def test_the_first_level_has_probabilities_best_first(explanation):
    (level,) = explanation.levels
    probabilities = [p for _, p in level.prefixes]
    assert len(probabilities) == level.num_prefixes == 4
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.99 < sum(probabilities) <= 1.0 + 1e-5  # all four legal codes of a book of four


THREE_LEVELS = {"sizes": (4, 6, 5), "without_sid": 3}


def test_of_three_levels_each_but_the_last_has_the_sums_of_what_continues_it():
    """Beams that keep every prefix leave out nothing of the probability below it."""
    params = cascade_params(beam_width=100, num_sids=100)
    recommender = fake_recommender(random_interactions(9, 60), params, **THREE_LEVELS)
    found = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    legal = set(map(tuple, recommender.trie.prefixes[-1].tolist()))
    of_ids = recommender.network.decoder.log_probs(USER, legal, 100, 100)
    assert len(found.levels) == 2
    for length, level in enumerate(found.levels, start=1):
        expected = dict.fromkeys({sid[:length] for sid in legal}, 0.0)
        for sid, log_prob in of_ids.items():
            expected[sid[:length]] += np.exp(log_prob)
        prefixes, probabilities = zip(*level.prefixes, strict=True)
        assert list(prefixes) == sorted(expected, key=lambda prefix: -expected[prefix])
        np.testing.assert_allclose(probabilities, [expected[one] for one in prefixes], rtol=1e-4)
        assert level.num_prefixes == len(expected)


@pytest.mark.parametrize(("beam_width", "num_sids"), [(2, 2), (2, 7), (3, 1)])
def test_of_three_levels_no_more_beams_are_shown_than_the_first_one_keeps(beam_width, num_sids):
    params = cascade_params(beam_width=beam_width, num_sids=num_sids)
    recommender = fake_recommender(random_interactions(9, 60), params, **THREE_LEVELS)
    found = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    legal = set(map(tuple, recommender.trie.prefixes[-1].tolist()))
    proposed = {beam.sid for beam in found.beams}
    shown = [dict(level.prefixes) for level in found.levels]
    assert [len(one) for one in shown] == [beam_width] * 2
    assert [level.num_prefixes for level in found.levels] == [beam_width, max(beam_width, num_sids)]
    assert {prefix[:1] for prefix in shown[1]} <= set(shown[0])
    of_ids = recommender.network.decoder.log_probs(USER, legal, beam_width, num_sids)
    assert proposed <= set(of_ids)
    for prefix, probability in shown[1].items():
        below = sum(np.exp(p) for sid, p in of_ids.items() if sid[:2] == prefix)
        np.testing.assert_allclose(probability, below, rtol=1e-4)


def test_text_and_page_show_every_level():
    params = cascade_params(beam_width=2, num_sids=7)
    recommender = fake_recommender(random_interactions(9, 60), params, **THREE_LEVELS)
    found = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    text, page = as_text(found), as_page(found)
    for told, start in ((text, "beams after"), (page, "<h2>Beams after")):
        assert f"{start} level 1" in told
        assert f"{start} level 2: 2 of 7" in told
        assert "after level 3" not in told
    for prefix, probability in itertools.chain(*(level.prefixes for level in found.levels)):
        codes = "-".join(map(str, prefix))
        assert f"\n  {codes:<{2 * len(prefix) - 1}}  {probability:.6f}\n" in text
        assert f"<td>{codes}</td><td class=number>{probability:.6f}</td>" in page


def test_json_has_every_level_and_calls_fates_by_their_names():
    params = cascade_params(beam_width=2, num_sids=7, blocked_items=["503"])
    recommender = fake_recommender(random_interactions(9, 60), params, **THREE_LEVELS)
    found = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    for told_level, level in zip(told["levels"], found.levels, strict=True):
        assert told_level["num_prefixes"] == level.num_prefixes
        assert told_level["prefixes"] == [[list(prefix), p] for prefix, p in level.prefixes]
    assert told["target"]["fate"] == found.target.fate.name.lower()
    assert [one["fate"] for one in told["candidates"][:10]] == [
        candidate.fate.name.lower() for candidate in found.candidates[:10]
    ]
    assert told["fates"] == {fate.name.lower(): n for fate, n in found.fates.items()}
    assert sum(told["fates"].values()) == told["num_scored"]
    assert told["beams"][0]["sid"] == list(found.beams[0].sid)
    assert told["settings"]["blocked_items"] == 1


def test_a_single_level_has_none_before_its_last():
    recommender = fake_recommender(random_interactions(9, 60), cascade_params(), sizes=(20,))
    found = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    assert found.levels == []
    assert [len(beam.sid) for beam in found.beams] == [1] * 6
    assert "after level" not in as_text(found) + as_page(found)


def test_beams_are_the_semantic_ids_of_the_proposals_best_first(recommender, explanation):
    beams, first = explanation.beams, dict(explanation.levels[0].prefixes)
    assert len({beam.sid for beam in beams}) == len(beams) == 12
    probabilities = [beam.probability for beam in beams]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 < beam.probability <= first[beam.sid[:1]] * (1 + 1e-5) for beam in beams)
    assert sum(b.num_items for b in beams) == explanation.num_proposed
    ten = [c for c in explanation.candidates if c.place and c.log_prob is not None]
    for beam in beams:
        places = [c.place for c in ten if c.sid == beam.sid]
        assert beam.best_place == min(places, default=0)
    for candidate in ten:
        (own,) = (beam for beam in beams if beam.sid == candidate.sid)
        assert np.isclose(np.log(own.probability), candidate.log_prob, atol=1e-4)


def test_headings_say_of_how_much_they_show_a_part(recommender, explanation, monkeypatch):
    for name in ("EVENTS_SHOWN", "BEAMS_SHOWN", "CANDIDATES_SHOWN"):
        monkeypatch.setattr(explain, name, 2)
    cut = explain_user(recommender, _codes(recommender), "user_004", beam_weight=0.1, part="test")
    events, items = explanation.history_length, len(explanation.candidates)
    assert events > 2
    for told in (as_text(cut), as_page(cut)):
        assert f"istory: the newest 2 of {events} events, newest first" in told
        assert "ost probable semantic IDs: 2 of 12" in told
        assert f"e-scored list: 2 of {items}" in told
    whole = as_text(explanation)
    assert f"\nhistory: {events} events, newest first\n" in whole
    assert "\nmost probable semantic IDs\n" in whole
    assert "\nre-scored list\n" in whole


def test_blocked_and_cold_items_are_counted_apart():
    interactions = random_interactions(9, 60)
    cold = int((training_counts(interactions)[1:] == 0).sum())
    first = int((training_counts(interactions)[1:] == 0).argmax())  # blocked and cold
    warm = int((training_counts(interactions)[1:] > 0).argmax())
    params = cascade_params(blocked_items=[str(500 + first), str(500 + warm)])
    recommender = fake_recommender(interactions, params)
    told = counts(
        explain_user(
            recommender, _codes(recommender), "user_004", beam_weight=0.1, part="submission"
        )
    )
    assert told["ruled out for everyone: on the block list"] == 2
    assert told["ruled out for everyone: no training event"] == cold - 1


def test_text_and_page_hold_every_candidate(explanation):
    text, page = as_text(explanation), as_page(explanation)
    for candidate in explanation.candidates:
        assert candidate.item in text
        assert candidate.item in page
    for beam in explanation.beams:
        assert "-".join(map(str, beam.sid)) in text
        assert f"<td>{beam.probability:.6f}</td>" in page
    assert "held-out item" in text
    open_tags: list[str] = []

    class Balanced(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta",):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Balanced().feed(page)
    assert open_tags == []


def test_a_beam_wider_than_the_codebook_takes_no_room_of_its_own():
    params = cascade_params(beam_width=2**31 - 1)
    recommender = fake_recommender(random_interactions(9, 60), params)
    codes = _codes(recommender)
    found = explain_user(recommender, codes, "user_004", beam_weight=0.1, part="submission")
    assert [len(level.prefixes) for level in found.levels] == [4]


def test_search_alone_is_explained_without_beams():
    params = cascade_params(num_sids=0, max_per_group=2)
    recommender = fake_recommender(random_interactions(9, 60), params)
    for part in ("submission", "test"):
        found = explain_user(
            recommender, _codes(recommender), "user_004", beam_weight=0.0, part=part
        )
        assert found.beams == found.levels == []
        assert found.num_proposed == 0
        assert [one.fate for one in found.candidates] == [Fate.HIT_BY_BACK_FILL] * 10
        assert as_text(found).count("(none)") == 1
        assert "recommended (back-fill)" in as_page(found)


@pytest.mark.parametrize("changes", [{"num_sids": 1}, {"beam_width": 1, "num_sids": 2}])
def test_beams_that_propose_fewer_than_ten_are_explained(changes):
    params = cascade_params(max_per_group=2, **changes)
    recommender = fake_recommender(random_interactions(9, 60), params)
    explanation = explain_user(
        recommender, _codes(recommender), "user_004", beam_weight=0.1, part="submission"
    )
    assert 0 < explanation.num_proposed < 10
    made = recommend(recommender, "submission", np.array([USER]), beam_weight=0.1)
    ten = [candidate.item for candidate in explanation.candidates[:10]]
    assert ten == [str(499 + item) for item in made.item_ids[0]]


def test_a_long_block_list_is_told_by_its_length():
    params = cascade_params(blocked_items=[str(500 + item) for item in range(30)])
    recommender = fake_recommender(random_interactions(9, 60), params)
    explanation = explain_user(
        recommender, _codes(recommender), "user_004", beam_weight=0.1, part="submission"
    )
    assert "  blocked_items   30\n" in as_text(explanation)
    assert "<td>blocked_items</td><td>30</td>" in as_page(explanation)


def test_a_strange_id_is_escaped(explanation):
    from dataclasses import replace

    page = as_page(replace(explanation, user="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_an_unknown_user_is_told_what_ids_look_like(recommender):
    with pytest.raises(InputError, match="user_000"):
        explain_user(recommender, _codes(recommender), "nobody", beam_weight=0.0, part="test")
