"""The quota study measures what the recommender does."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from model import metrics
from model.artifact import write_json
from model.dataset.split import user_weights
from model.errors import InputError
from model.inference import quota
from model.inference.approximate_search import IndexSearch
from model.inference.cascade import recommend
from model.inference.index_cache import with_index
from model.inference.quota import Way, _recall_at_equal_cost, save_study, study_quotas, study_run
from tests.model.inference.fakes import cascade_params, fake_recommender, random_interactions
from tests.model.small_network import CPU, pipeline_params

USERS = np.arange(40)
SIZES = (2, 20, 23, 158)  # both K', and the most items that each brings


@pytest.fixture(scope="module")
def recommender():
    return fake_recommender(random_interactions(40, 160), cascade_params(filter_cold=False))


@pytest.fixture(scope="module")
def table(recommender):
    return study_quotas(
        recommender,
        USERS,
        user_weights(recommender.interactions, USERS, "test", (1.0, 1.0, 2.5)),
        beam_widths=[1, 4],
        num_sids=[2, 20],
        beam_weight=0.1,
    )


def test_every_combination_stands_beside_embedding_only(table):
    found = [tuple(row) for row in table[["path", "beam_width", "num_items"]].to_numpy()]
    assert found == [
        ("cascade", 1, 2),
        ("cascade", 1, 20),
        ("cascade", 4, 2),
        ("cascade", 4, 20),
        *[("exact", 0, size) for size in SIZES],
        *[("ivf", 0, size) for size in SIZES] * 2,
    ]
    assert table["probes"].tolist() == [0] * 8 + [1] * 4 + [4] * 4  # there are four lists
    assert (table["users_per_second"] > 0).all()


def test_scores_are_those_of_recommending_with_that_quota(table):
    interactions = random_interactions(40, 160)
    params = cascade_params(beam_width=4, num_sids=20, filter_cold=False)
    made = recommend(fake_recommender(interactions, params), "test", USERS, beam_weight=0.1)
    events = interactions.test_event[USERS]
    ranks = metrics.ranks_in_lists(made.item_ids, interactions.item_ids[events])
    weights = np.array([1.0, 1.0, 2.5])[interactions.action_types[events]]
    row = table[(table["beam_width"] == 4) & (table["num_items"] == 20)].iloc[0]
    assert row["score"] == pytest.approx(metrics.competition_score(ranks, weights))
    assert row["hr@10"] == pytest.approx(metrics.hit_rate(ranks, 10, weights))


def test_recall_grows_with_the_quota(table):
    cascade = table[table["path"] == "cascade"].set_index(["beam_width", "num_items"])["recall"]
    assert cascade[4, 20] >= cascade[4, 2]
    assert cascade[4, 20] >= cascade[1, 20]
    assert 0 < cascade[4, 20] <= 1


def test_a_search_for_fewer_than_ten_finds_no_more_than_them(recommender):
    options = {"beam_widths": [4], "num_sids": [1, 10], "beam_weight": 0.1}
    found = study_quotas(recommender, USERS, np.ones(40), **options)
    exact = found[found["path"] == "exact"].set_index("num_items")
    assert exact.loc[1, "recall"] < exact.loc[10, "recall"]
    assert exact.loc[1, "hr@10"] == exact.loc[10, "hr@10"]  # of a list that is filled up to ten


def test_few_inverted_lists_find_no_more_than_they_hold(table):
    ivf = table[(table["path"] == "ivf") & (table["num_items"] == 20)].set_index("probes")
    exact = table[(table["path"] == "exact") & (table["num_items"] == 20)].iloc[0]
    assert ivf.loc[1, "recall"] < exact["recall"]
    assert ivf.loc[4, "recall"] == exact["recall"]  # of all the lists


def test_a_beam_is_counted_by_the_items_that_it_fetches(table, recommender):
    changes = {"beam_width": 1, "num_sids": 20}
    narrow = replace(recommender, params=recommender.params.model_copy(update=changes))
    batches = narrow.propose("test", USERS)
    counts = [((one.rows >= 0) & ~one.hidden).sum(dim=1).numpy() for one in batches]
    cascade = table[table["path"] == "cascade"].set_index(["beam_width", "num_items"])["fetched"]
    assert cascade[1, 20] == np.concatenate(counts).mean()
    assert cascade[1, 20] < cascade[4, 20]


def test_searches_fetch_as_many_items_as_a_beam_whose_ids_are_shared(table):
    cascade = table[table["path"] == "cascade"].groupby("num_items")["fetched"].max()
    exact = table[table["path"] == "exact"]["fetched"].tolist()
    assert exact[:2] == [2.0, 20.0]
    assert cascade[2] > 2 and cascade[20] > 20  # a semantic ID has eight items
    assert cascade[2] <= exact[2] and cascade[20] <= exact[3]


def _way(path, seconds, fetched, places):
    way = Way(path, 0, 9, lambda encoded: pytest.fail("asked"), seconds=seconds)
    way.fetched.append(np.array(fetched))
    way.places.append(np.array(places))
    return way


def test_recall_at_equal_cost_is_the_best_of_the_searches_that_are_as_fast():
    ways = [
        _way("cascade", 2.0, [2, 3, 4, 3], [1, 0, 0, 0]),
        _way("cascade", 0.5, [9, 9, 9, 9], [1, 0, 0, 0]),
        _way("cascade", 2.5, [0, 1, 2, 0], [0, 0, 0, 0]),
        _way("exact", 3.0, [9, 9, 9, 9], [1, 1, 1, 1]),  # too slow for all
        _way("ivf", 2.0, [9, 9, 9, 9], [3, 4, 0, 5]),
        _way("ivf", 1.0, [2, 2, 2, 2], [0, 2, 1, 0]),
    ]
    weights = np.array([4.0, 1.0, 1.0, 1.0])
    found = _recall_at_equal_cost(ways, weights)
    np.testing.assert_allclose(found, [4 / 7, np.nan, 0.0, np.nan, np.nan, np.nan])


def test_recall_at_equal_cost_stands_in_the_table(table):
    cascade = table[table["path"] == "cascade"]
    for _, row in cascade.iterrows():
        searches = table[table["path"] != "cascade"]
        rivals = searches[searches["users_per_second"] >= row["users_per_second"]]
        assert np.isnan(row["embedding_recall"]) == rivals.empty
        assert rivals.empty or row["embedding_recall"] <= rivals["recall"].max()
    assert table[table["path"] != "cascade"]["embedding_recall"].isna().all()


def test_saves_a_table_and_a_picture(table, tmp_path):
    save_study(table, tmp_path)
    assert (tmp_path / "quota.csv").read_text().startswith("path,beam_width,num_items,probes,")
    assert (tmp_path / "quota.png").stat().st_size > 1000


@pytest.fixture
def run(monkeypatch):
    """Parameters of a run over an index; its artefacts are the fake recommender's."""
    params = pipeline_params(cascade={"search": "ivf", "beam_weight": "validation"})
    interactions = random_interactions(40, 160)
    fake = fake_recommender(interactions, cascade_params(search="ivf", filter_cold=False))
    inputs = SimpleNamespace(interactions=interactions)
    monkeypatch.setattr(quota.InferenceInputs, "load", lambda *given: inputs)
    monkeypatch.setattr(quota, "prepare_recommender", lambda *given: fake)
    return params


def test_a_run_is_studied_with_the_search_and_the_weight_of_its_submission(
    run, tmp_path, monkeypatch
):
    studied = {}

    def study(recommender, users, weights, **options):
        studied.update(options, search=recommender.search)

    monkeypatch.setattr(quota, "study_quotas", study)
    (tmp_path / "evaluation_report").mkdir()
    write_json(tmp_path / "evaluation_report" / "metrics.json", {"beam_weight": 0.03})
    study_run(run, tmp_path, CPU)
    assert isinstance(studied["search"], IndexSearch)
    assert studied["beam_weight"] == 0.03


def test_a_run_of_search_alone_is_studied_with_beams_of_the_usual_numbers(
    run, tmp_path, monkeypatch
):
    studied = {}
    monkeypatch.setattr(quota, "study_quotas", lambda *given, **options: studied.update(options))
    alone = pipeline_params(cascade={"num_sids": 0, "beam_weight": 0.5})
    study_run(alone, tmp_path, CPU, [2], [3, 4])
    assert studied["num_sids"] == [3, 4]
    assert studied["beam_weight"] == 0.0


def test_a_run_that_was_not_evaluated_is_refused_before_its_catalogue_is_laid_out(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(quota, "prepare_recommender", lambda *given: pytest.fail("laid out"))
    with pytest.raises(InputError, match=r"evaluation_report/metrics\.json: not found"):
        study_run(run, tmp_path, CPU)


def test_targets_that_weigh_nothing_are_refused_before_a_catalogue_is_laid_out(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(quota, "prepare_recommender", lambda *given: pytest.fail("laid out"))
    quota.InferenceInputs.load().interactions.action_types[:] = 0
    params = pipeline_params(cascade={"beam_weight": 0.5})
    with pytest.raises(InputError, match=r"evaluation_report\.action_weights .*only \[0\] occur"):
        study_run(params, tmp_path, CPU)


def test_beside_an_index_the_exact_search_stays_exact(recommender):
    approximate = cascade_params(search="ivf", filter_cold=False)
    indexed, _ = with_index(fake_recommender(recommender.interactions, approximate), None)
    indexed.search.index.index.nprobe = 1  # one list of several: never the true ten
    options = {"beam_widths": [1], "num_sids": [2], "beam_weight": 0.1}
    one, two = (study_quotas(way, USERS, np.ones(40), **options) for way in (recommender, indexed))
    measured = ["recall", "hr@10", "ndcg@10", "score"]
    searches = one["path"] != "cascade"  # which is filled up by the index
    assert one[searches][measured].equals(two[searches][measured])
