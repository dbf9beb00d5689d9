"""The evaluation on a world where every list can be recomputed."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from model import metrics
from model.dataset.interactions import CLICK, CONVERSION
from model.errors import InputError
from model.inference.approximate_search import IndexSearch
from model.inference.baselines import Cooccurrence
from model.inference.beam_weight import GRID, Tuning, _places, choose, tune_beam_weight
from model.inference.cascade import recommend
from model.inference.evaluation import choose_beam_weight, evaluate, summarise
from model.inference.index_cache import with_index
from model.inference.loss_funnel import Fate
from model.inference.paths import LEARNED, PATHS, rank_paths
from model.inference.recommender import Recommender
from model.inference.report import EvaluationReport
from model.params import EvaluationReportParams
from tests.model.inference.fakes import (
    FakeNetwork,
    cascade_params,
    fake_recommender,
    random_interactions,
    training_counts,
)
from tests.model.small_network import CPU, pipeline_params

USERS = np.arange(40)
SECTION = EvaluationReportParams(
    cutoffs=[1, 5, 10, 50], bootstrap_samples=200, max_users=100, action_weights=(0.0, 1.0, 2.5)
)
WEIGHTS = np.array([0.0, 1.0, 2.5])


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    interactions = random_interactions(40, 80)
    # some targets are no candidates, some allowed items have no semantic ID
    interactions.candidate_item_ids[:] = np.arange(1, 81)
    trimmed = interactions.candidate_item_ids[:-6]
    object.__setattr__(interactions, "candidate_item_ids", trimmed)
    return fake_recommender(interactions, cascade_params(max_per_group=3), without_sid=5)


def report_of(recommender: Recommender, **options: bool) -> EvaluationReport:
    lists = rank_paths(recommender, USERS, 0.1, SECTION.cutoffs, **options)
    actions = recommender.interactions.action_types[recommender.interactions.test_event[USERS]]
    counts = training_counts(recommender.interactions)
    tried = [{"beam_weight": 0.1, "ndcg@10": 0.2, "hr@10": 0.3}]
    tuning = Tuning(0.1, 4, tried, np.array([1, 0, 3, 11]), np.array([1.0, 1.0, 2.0, 1.0]))
    return summarise(recommender, counts, lists, WEIGHTS[actions], tuning, SECTION, seed=3)


def test_cascade_ranks_are_those_of_its_recommendations(recommender):
    lists = rank_paths(recommender, USERS, 0.1, [10])
    made = recommend(recommender, "test", USERS, beam_weight=0.1)
    expected = metrics.ranks_in_lists(made.item_ids, lists.targets)
    assert lists.ranks["cascade"].tolist() == expected.tolist()
    assert expected.max() > 0


def test_every_path_is_a_list_of_distinct_unseen_allowed_items(recommender):
    lists = rank_paths(recommender, USERS, 0.1, [10])
    interactions = recommender.interactions
    for path in PATHS:
        for user in USERS:
            rows = lists.top_rows[path][user]
            rows = rows[rows >= 0]
            assert len(set(rows)) == len(rows) > 0
            begin, end = interactions.offsets[user], interactions.test_event[user]
            shown = recommender.catalogue.item_ids[rows]
            assert not np.isin(shown, interactions.item_ids[begin:end]).any()


def test_embedding_ranks_are_places_in_a_full_sort(recommender):
    lists = rank_paths(recommender, USERS, 0.0, [50])
    interactions, catalogue = recommender.interactions, recommender.catalogue
    for user in USERS:
        scores = (catalogue.vectors @ recommender.network.user_vectors[user]).numpy()
        begin, end = interactions.offsets[user], interactions.test_event[user]
        history = catalogue.rows[interactions.item_ids[begin:end]]
        scores[history[history >= 0]] = -np.inf
        row = catalogue.rows[lists.targets[user]]
        rank = 0
        if row >= 0 and np.isfinite(scores[row]):
            rank = 1 + int((scores > scores[row]).sum())
        assert lists.ranks["embedding"][user] == (rank if rank <= 50 else 0)


def test_embedding_lists_are_exact_beside_an_index():
    interactions = random_interactions(40, 400)
    exact = fake_recommender(interactions, cascade_params(filter_cold=False))
    approximate = cascade_params(filter_cold=False, search="ivf")
    indexed, _ = with_index(fake_recommender(interactions, approximate), None)
    assert isinstance(indexed.search, IndexSearch)
    indexed.search.index.index.nprobe = 1  # one list of several: never the true ten
    one, two = (rank_paths(way, USERS, 0.0, [10]) for way in (exact, indexed))
    assert np.array_equal(one.top_rows["embedding"], two.top_rows["embedding"])
    assert np.array_equal(one.ranks["embedding"], two.ranks["embedding"])


def test_fates_agree_with_lists_filters_and_candidates(recommender):
    lists = rank_paths(recommender, USERS, 0.1, [10])
    interactions = recommender.interactions
    counts = training_counts(interactions)
    hit = lists.ranks["cascade"] > 0
    assert np.isin(lists.fate, [Fate.HIT, Fate.HIT_BY_BACK_FILL]).tolist() == hit.tolist()
    for user, target, fate in zip(USERS, lists.targets, lists.fate, strict=True):
        begin, end = interactions.offsets[user], interactions.test_event[user]
        seen = target in interactions.item_ids[begin:end]
        if target > 74:
            assert fate == Fate.NOT_A_CANDIDATE
        elif counts[target] == 0:
            assert fate == Fate.COLD_FILTERED
        elif seen:
            assert fate == Fate.SEEN_FILTERED
        elif target <= 5:
            assert fate in (Fate.NO_SEMANTIC_ID, Fate.HIT_BY_BACK_FILL, Fate.CAPPED)
        else:
            assert fate >= Fate.HIT
    # the little world knows most ways to lose
    assert len(set(lists.fate.tolist())) >= 5


def test_a_blocked_item_is_nowhere_recommended_and_counted_as_blocked():
    interactions = random_interactions(40, 80)
    item = int(interactions.item_ids[interactions.test_event[0]])
    blocked = [interactions.raw_item_ids[item - 1].as_py()]
    recommender = fake_recommender(interactions, cascade_params(blocked_items=blocked))
    # whose raw ids are read when it is prepared, not for every batch
    recommender = replace(recommender, interactions=replace(interactions, raw_item_ids=None))
    lists = rank_paths(recommender, USERS, 0.1, [10])
    assert (lists.fate[lists.targets == item] == Fate.BLOCKED).all()
    assert (lists.fate[lists.targets != item] != Fate.BLOCKED).all()
    for rows in lists.top_rows.values():
        assert item not in recommender.catalogue.item_ids[rows[rows >= 0]]


def test_report_holds_every_metric_and_its_interval(recommender):
    report = report_of(recommender)
    assert report.metrics["users"] == 40
    assert report.metrics["candidates"] == 74
    assert report.metrics["masked_actions"] == [0, 1, 2]
    assert report.metrics["seen_masked"] is True
    for path in PATHS:
        values = report.metrics[path]
        for k in SECTION.cutoffs:
            for name in (f"hr@{k}", f"ndcg@{k}", f"mrr@{k}"):
                low, high = values["ci95"][name]
                assert low <= values[name] <= high
        expected = 0.31 * values["hr@10"] + 0.69 * values["ndcg@10"]
        assert values["score"] == pytest.approx(expected)
        assert 0 < values["catalogue_coverage"] <= 1
        low, high = values["ci95"]["novelty"]
        assert 0 < low < values["novelty"] < high
    shares = [entry["share"] for entry in report.metrics["cascade_losses"].values()]
    assert sum(shares) == pytest.approx(1.0)
    difference = report.metrics["cascade_minus_embedding"]["ndcg@10"]
    assert difference == pytest.approx(
        report.metrics["cascade"]["ndcg@10"] - report.metrics["embedding"]["ndcg@10"]
    )


def _target_actions(recommender: Recommender) -> np.ndarray:
    interactions = recommender.interactions
    return np.asarray(interactions.action_types[interactions.test_event[USERS]])


@pytest.mark.parametrize("asked", ["click", "conversion"])
def test_the_cascade_is_also_asked_as_one_who_is_not_told_the_targets_action(asked):
    interactions = random_interactions(40, 80)
    params = cascade_params(default_action=asked)
    recommender = fake_recommender(interactions, params)
    lists = rank_paths(recommender, USERS, 0.1, SECTION.cutoffs)
    otherwise = _target_actions(recommender) != {"click": CLICK, "conversion": CONVERSION}[asked]
    recommender.network.user_vectors.neg_()  # what the fake encodes where it is told nothing
    untold = rank_paths(recommender, USERS, 0.1, SECTION.cutoffs).ranks["cascade"]
    expected = np.where(otherwise, untold, lists.ranks["cascade"])
    np.testing.assert_array_equal(lists.untold_ranks, expected)
    np.testing.assert_array_equal(lists.asked_otherwise, otherwise)
    assert (expected != lists.ranks["cascade"]).any()

    recommender.network.user_vectors.neg_()
    found = report_of(recommender).metrics["cascade_default_action"]
    assert found["users"] == otherwise.sum()
    weights = WEIGHTS[_target_actions(recommender)]
    assert found["hr@50"] == pytest.approx(np.average(expected > 0, weights=weights))
    low, high = found["ci95"]["hr@50"]
    assert low < found["hr@50"] < high


def test_a_network_that_reads_no_action_is_not_asked_twice(monkeypatch):
    recommender = fake_recommender(random_interactions(40, 80), cascade_params())
    monkeypatch.setattr(recommender.dataset, "uses_next_action", False)
    lists = rank_paths(recommender, USERS, 0.1, [10])
    assert not lists.asked_otherwise.any()
    np.testing.assert_array_equal(lists.untold_ranks, lists.ranks["cascade"])


def test_seen_items_are_masked_where_every_action_is():
    interactions = random_interactions(40, 80)
    clicks = fake_recommender(interactions, cascade_params(filter_history=[1, 1]))
    measured = report_of(clicks).metrics
    assert (measured["masked_actions"], measured["seen_masked"]) == ([1], False)


def test_without_counters_nothing_is_counted_and_the_rest_is_the_same(recommender, monkeypatch):
    whole = report_of(recommender).metrics
    monkeypatch.setattr(Cooccurrence, "count", lambda *given: pytest.fail("it was counted"))
    found = report_of(recommender, counters=False).metrics
    assert whole.keys() - found.keys() == {"popularity", "cooccurrence"}
    for path in LEARNED:
        mine, theirs = (list(one[path].pop("ci95").values()) for one in (found, whole))
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)  # products of fewer columns
        assert found[path] == whole[path]


def test_what_a_path_shows_by_hand(recommender):
    catalogue = replace(recommender.catalogue, log_q=-torch.tensor([1.0, 2, 3, 9]) * np.log(2))
    lists = rank_paths(recommender, USERS, 0.1, SECTION.cutoffs)
    shown, nothing = np.full((40, 10), -1), np.full((40, 10), -1)
    shown[:2, :2] = [[0, 1], [2, 0]]  # row 0 twice, rows 1 and 2 once, row 3 never
    top_rows = dict.fromkeys(PATHS, nothing) | {"sid": shown}
    report = summarise(
        replace(recommender, catalogue=catalogue),
        training_counts(recommender.interactions),
        replace(lists, top_rows=top_rows),
        np.ones(40),
        Tuning(0.1, 1, [], np.array([1]), np.ones(1)),
        SECTION,
        seed=3,
    )
    sid, silent = report.metrics["sid"], report.metrics["cascade"]
    assert sid["catalogue_coverage"] == 3 / 4
    assert sid["novelty"] == pytest.approx((1 + 1 + 2 + 3) / 4)  # bits
    # two of forty users are shown items: some draws hold neither, some only the second
    assert sid["ci95"]["novelty"] == [0.0, pytest.approx((1 + 3) / 2)]
    # differences of (0, 1, 1, 2), both ways: 12 / 16 on average, over twice the mean of 1
    assert sid["gini"] == pytest.approx(3 / 8)
    assert [silent[name] for name in ("catalogue_coverage", "novelty", "gini")] == [0.0] * 3


def test_groups_of_a_breakdown_average_to_the_whole(recommender):
    report = report_of(recommender)
    interactions = recommender.interactions
    weights = WEIGHTS[interactions.action_types[interactions.test_event[USERS]]]
    for division in ("history_length", "target_popularity", "target_warmth", "month"):
        rows = [r for r in report.breakdowns if r["division"] == division]
        assert sum(r["users"] for r in rows if r["path"] == "cascade") == len(USERS)
    by_action = {
        row["group"]: row
        for row in report.breakdowns
        if row["division"] == "action" and row["path"] == "cascade"
    }
    assert by_action["exposure"]["hr@10"] is None  # exposures weigh nothing
    clicks, conversions = (weights == 1.0).sum(), (weights == 2.5).sum()
    mean = (
        clicks * by_action["click"]["hr@10"] + 2.5 * conversions * by_action["conversion"]["hr@10"]
    )
    assert mean / weights.sum() == pytest.approx(report.metrics["cascade"]["hr@10"])


def test_saved_report_is_the_same_bytes_again_and_loads(recommender, tmp_path):
    report = report_of(recommender)
    report.save(tmp_path / "a")
    report_of(recommender).save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    tables, plots = {"metrics", "breakdowns", "tuning"}, {"paths", "losses", "tuning"}
    assert {f"{name}.csv" for name in tables} | {f"{name}.png" for name in plots} <= set(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    loaded = EvaluationReport.load(tmp_path / "a")
    assert loaded.breakdowns == report.breakdowns
    table = pd.read_csv(tmp_path / "a" / "breakdowns.csv")
    for place, name in enumerate(("ci95.ndcg@10.low", "ci95.ndcg@10.high")):
        ends = [(row["ci95"]["ndcg@10"] or [np.nan] * 2)[place] for row in report.breakdowns]
        np.testing.assert_allclose(table[name], ends)
    assert "ci95" not in table
    assert loaded.metrics == json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert loaded.beam_weight == 0.1
    assert list(loaded.table()["path"]) == list(PATHS)


def test_validation_targets_are_measured_apart_from_test_targets(recommender):
    measured = report_of(recommender).metrics["validation"]
    assert measured["hr@10"] == pytest.approx(3 / 5)  # ranks 1 and 3 of weights 1, 1, 2, 1
    assert measured["ndcg@10"] == pytest.approx((1 + 2 * 0.5) / 5)
    assert measured["score"] == pytest.approx(0.31 * 3 / 5 + 0.69 * 2 / 5)
    low, high = measured["ci95"]["score"]
    assert low <= measured["score"] <= high


def test_a_given_weight_is_the_whole_grid():
    recommender = fake_recommender(random_interactions(40, 80), cascade_params())
    tuning = tune_beam_weight(recommender, USERS, (1.0, 1.0, 1.0), (0.1,))
    assert tuning.beam_weight == 0.1
    assert len(tuning.ranks) == len(tuning.weights) == tuning.users == 40
    assert tuning.table[0]["hr@10"] == pytest.approx(metrics.hit_rate(tuning.ranks, 10))


def test_tuning_tries_all_weights_on_the_proposals():
    interactions = random_interactions(40, 80)
    recommender = fake_recommender(interactions, cascade_params(num_sids=30, beam_width=4))
    tuning = tune_beam_weight(recommender, USERS, (1.0, 1.0, 1.0), GRID)
    assert [row["beam_weight"] for row in tuning.table] == list(GRID)
    assert tuning.users == 40
    chosen = next(row for row in tuning.table if row["beam_weight"] == tuning.beam_weight)
    assert chosen["ndcg@10"] == pytest.approx(metrics.ndcg(tuning.ranks, 10))
    # the table is what recommending with that weight gives, as long as nothing is filled up
    made = recommend(recommender, "validation", USERS, beam_weight=0.12)
    targets = interactions.item_ids[interactions.validation_event[USERS]]
    expected = metrics.ndcg(metrics.ranks_in_lists(made.item_ids, targets), 10)
    row = next(row for row in tuning.table if row["beam_weight"] == 0.12)
    assert (made.path == 0).all()
    assert row["ndcg@10"] == pytest.approx(expected)


def test_the_tuning_has_ranks_and_weights_in_the_order_of_the_users():
    """Whatever the order of the batches."""
    recommender = fake_recommender(random_interactions(40, 80), cascade_params(num_sids=30))
    interactions = recommender.interactions
    weights = np.array([1.0, 1.0, 2.5])
    tuning = tune_beam_weight(recommender, USERS, tuple(weights), (0.12,))
    events = interactions.validation_event[USERS]
    made = recommend(recommender, "validation", USERS, beam_weight=0.12)
    found = metrics.ranks_in_lists(
        np.where(made.path == 0, made.item_ids, 0), interactions.item_ids[events]
    )
    np.testing.assert_array_equal(np.where(tuning.ranks <= 10, tuning.ranks, 0), found)
    assert found.any()
    np.testing.assert_array_equal(tuning.weights, weights[interactions.action_types[events]])


def test_the_place_of_a_target_is_that_of_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (200, 30), generator=generator).float()  # many ties
    scores[torch.rand(200, 30, generator=generator) < 0.2] = -torch.inf
    columns = torch.randint(0, 30, (200,), generator=generator)
    is_target = torch.nn.functional.one_hot(columns, 30).bool()
    is_target[::7] = False
    order = scores.argsort(dim=1, descending=True, stable=True)
    place = is_target.gather(1, order).to(torch.int8).argmax(dim=1) + 1
    legal = is_target.any(dim=1) & (scores.gather(1, columns[:, None])[:, 0] > -torch.inf)
    assert 0 < legal.sum() < 200
    assert torch.equal(_places(scores, is_target), torch.where(legal, place, 0))


@pytest.mark.parametrize(
    ("better", "worse", "chosen"),
    [(60, 0, 1), (60, 20, 1), (60, 50, 0), (2, 0, 0), (0, 0, 0), (0, 60, 0)],
)
def test_a_blend_is_chosen_where_it_gains_more_than_chance(better, worse, chosen):
    without = np.full(1000, 0.5)
    blended = without.copy()
    blended[:better] += 0.5
    blended[better : better + worse] -= 0.5
    assert choose([without, blended], np.ones(1000)) == chosen


def test_a_blend_is_judged_by_users_that_weigh_something():
    without = np.full(1000, 0.5)
    blended = np.where(np.arange(1000) < 60, 1.0, np.where(np.arange(1000) < 110, 0.0, 0.5))
    weights = np.where(np.arange(1000) < 60, 1.0, 0.0)
    weights[200:] = 1.0
    assert choose([without, blended], np.ones(1000)) == 0
    assert choose([without, blended], weights) == 1


@pytest.mark.parametrize(("users", "chosen"), [(1, 0), (9, 0), (10, 1)])
def test_few_users_choose_no_blend(users, chosen):
    assert choose([np.zeros(users), np.ones(users)], np.ones(users)) == chosen
    idle = np.ones(users + 50)  # users without weight are no evidence either
    idle[users:] = 0.0
    assert choose([np.zeros(users + 50), np.ones(users + 50)], idle) == chosen


def test_more_ids_and_longer_lists_than_there_are_change_nothing(recommender):
    params = recommender.params.model_copy(update={"num_sids": 10**9})
    many = replace(recommender, params=params)
    everything = recommender.params.model_copy(update={"num_sids": recommender.trie.num_sids})
    lists = rank_paths(many, USERS, 0.1, [10, 10**9])
    whole = rank_paths(replace(recommender, params=everything), USERS, 0.1, [10, 74])
    for path, ranks in lists.ranks.items():
        np.testing.assert_array_equal(ranks, whole.ranks[path])


@pytest.fixture
def alone() -> Recommender:
    """Without beams; some of the allowed items have no semantic ID."""
    params = cascade_params(num_sids=0, batch_size=16)
    return fake_recommender(random_interactions(40, 80), params, without_sid=20)


def test_search_alone_is_embedding_search_at_every_cutoff(alone):
    lists = rank_paths(alone, USERS, 0.0, SECTION.cutoffs)
    assert lists.ranks["embedding"].max() > 10
    np.testing.assert_array_equal(lists.ranks["cascade"], lists.ranks["embedding"])
    np.testing.assert_array_equal(lists.top_rows["cascade"], lists.top_rows["embedding"])
    beams = alone.params.model_copy(update={"num_sids": 50})
    with_beams = rank_paths(replace(alone, params=beams), USERS, 0.0, SECTION.cutoffs)
    assert lists.ranks["sid"].any()
    np.testing.assert_array_equal(lists.ranks["sid"], with_beams.ranks["sid"])


def test_users_are_encoded_once_for_all_paths(alone, monkeypatch):
    """Also where search alone answers, and the beams of one path are another recommender's.

    Only those whose target is no click are asked for a click besides.
    """
    encode, users = FakeNetwork.encode, []

    def counting(network, batch):
        users.extend(batch.users)
        return encode(network, batch)

    monkeypatch.setattr(FakeNetwork, "encode", counting)
    rank_paths(alone, USERS, 0.0, SECTION.cutoffs)
    assert sorted(users) == sorted([*USERS, *np.flatnonzero(_target_actions(alone) != CLICK)])


def test_search_alone_loses_no_target_in_the_beams(alone):
    lists = rank_paths(alone, USERS, 0.0, SECTION.cutoffs)
    assert not np.isin(lists.fate, [Fate.HIT, Fate.NO_SEMANTIC_ID, Fate.NOT_AMONG_BEAMS]).any()
    hit = np.isin(lists.ranks["cascade"], range(1, 11))
    np.testing.assert_array_equal(lists.fate == Fate.HIT_BY_BACK_FILL, hit)
    assert (lists.fate == Fate.RANKED_BELOW_TEN).any()
    assert report_of(alone).metrics["search_alone"] is True


@pytest.mark.parametrize("cap", [0, 2])
def test_search_alone_is_measured_by_the_ten_of_its_submission(cap):
    """Of few inverted lists, which hold ten items and not as many as the longest cutoff."""
    params = cascade_params(num_sids=0, search="ivf", filter_cold=False, max_per_group=cap)
    recommender, _ = with_index(fake_recommender(random_interactions(40, 400), params), None)
    assert isinstance(recommender.search, IndexSearch)
    recommender.search.index.index.nprobe = 1
    lists = rank_paths(recommender, USERS, 0.0, [100])
    made = recommend(recommender, "test", USERS, beam_weight=0.0)
    shown = recommender.catalogue.item_ids[lists.top_rows["cascade"]]
    np.testing.assert_array_equal(shown, made.item_ids)
    assert (lists.top_rows["cascade"] != lists.top_rows["embedding"]).any()
    assert lists.ranks["cascade"].max() > 10
    assert cap or Fate.CAPPED not in lists.fate


@pytest.mark.parametrize("beam_weight", ["validation", 0.125])
def test_search_alone_competes_by_its_own_ten(alone, beam_weight):
    params = pipeline_params(cascade={"num_sids": 0, "beam_weight": beam_weight})
    tuning = choose_beam_weight(alone, params)
    assert tuning.beam_weight == 0.0
    made = recommend(alone, "validation", USERS, beam_weight=0.0)
    targets = alone.interactions.item_ids[alone.interactions.validation_event[USERS]]
    expected = metrics.ranks_in_lists(made.item_ids, targets)
    assert expected.any()
    assert sorted(tuning.ranks) == sorted(expected)  # in the order of the batches


def test_targets_that_weigh_nothing_are_refused_before_a_catalogue_is_laid_out(monkeypatch):
    interactions = random_interactions(4, 20)
    interactions.action_types[:] = 0
    prepared = "model.inference.evaluation.prepare_recommender"
    monkeypatch.setattr(prepared, lambda *given: pytest.fail("it was laid out"))
    inputs: Any = SimpleNamespace(interactions=interactions)
    with pytest.raises(InputError, match=r"evaluation_report\.action_weights .*only \[0\] occur"):
        evaluate(inputs, pipeline_params(), CPU)


def test_tuning_without_validation_users_says_what_to_change():
    recommender = fake_recommender(random_interactions(4, 20), cascade_params())
    with pytest.raises(InputError, match="validation_fraction"):
        tune_beam_weight(recommender, np.zeros(0, np.int64), (1.0, 1.0, 1.0), GRID)
