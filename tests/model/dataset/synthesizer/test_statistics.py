"""The world's figures against the published ones, each within a stated tolerance."""

import numpy as np
import pytest

from model.dataset.interactions import CLICK, CONVERSION, EXPOSURE
from model.dataset.synthesizer import published
from model.dataset.synthesizer.published import ITEM_FEATURES, USER_LISTS, USER_SCALARS

_DAY = 86_400


def test_lengths(world):
    assert world.lengths.min() >= 1
    assert world.lengths.max() == published.MAX_LENGTH
    assert world.lengths.mean() == pytest.approx(96.3, abs=0.5)
    assert (world.lengths == 100).mean() == pytest.approx(0.931, abs=0.015)


@pytest.mark.parametrize("place", range(0, len(published.POSITIONS), 3))
def test_actions_by_position(world, place):
    here = world.positions == published.POSITIONS[place]
    assert here.sum() / len(world.lengths) == pytest.approx(
        published.LENGTH_AT_LEAST[place], abs=0.015
    )
    for action, shares in (
        (CLICK, published.CLICK_SHARE),
        (CONVERSION, published.CONVERSION_SHARE),
    ):
        assert (world.actions[here] == action).mean() == pytest.approx(shares[place], abs=0.01)


def test_every_event_after_the_cutoff_is_an_exposure(world):
    after = world.times >= published.CUTOFF
    assert 0.2 < after.mean() < 0.35
    assert (world.actions[after] == EXPOSURE).all()


def test_months(world):
    """Shares of events; published per month of TencentGR-10M, in millions."""
    expected = {"2025-03": 40.5, "2025-04": 153.1, "2025-05": 509.8, "2025-06": 217, "2025-07": 23}
    months = world.times.astype("datetime64[s]").astype("datetime64[M]").astype(str)
    for month, millions in expected.items():
        assert (months == month).mean() == pytest.approx(millions / 976.5, abs=0.025), month


def test_times_ascend_within_a_user(world):
    same = np.diff(world.users) == 0
    assert (np.diff(world.times)[same] >= 0).all()


def test_sessions_and_conversions_of_users(world):
    begins = np.ones(len(world.times), bool)
    begins[1:] = (np.diff(world.users) > 0) | (np.diff(world.times) >= 1800)
    assert np.bincount(world.users, begins).mean() == pytest.approx(77, abs=2)
    conversions = np.bincount(world.users, world.actions == CONVERSION)
    assert conversions.mean() == pytest.approx(2.42, abs=0.2)
    assert (conversions > 0).mean() == pytest.approx(0.569, abs=0.03)
    assert np.median(conversions) == 1
    assert np.quantile(conversions, 0.9) == pytest.approx(7, abs=1)


def test_popularity(world):
    counts = np.sort(world.counts)
    assert np.median(counts) == pytest.approx(2, abs=1)
    assert (counts <= 5).mean() == pytest.approx(0.73, abs=0.03)
    assert np.quantile(counts, 0.9) == pytest.approx(published.COUNT_AT_90_PERCENT, abs=3)
    assert counts[-len(counts) // 100 :].sum() / counts.sum() == pytest.approx(0.5, abs=0.08)
    assert (counts == 0).mean() < 0.002


def test_a_user_hardly_ever_meets_an_item_twice(world):
    pairs = world.users.astype(np.int64) * (world.params.num_items + 1) + world.items
    assert 1 - len(np.unique(pairs)) / len(pairs) < 0.01


def test_popular_items_burst_and_decay(world):
    """Half of an item's events fall in a few weeks, far fewer than the three hundred days."""
    middle = []
    for item in np.argsort(-world.counts)[:40] + 1:
        first, last = np.quantile(world.times[world.items == item], [0.25, 0.75])
        middle.append((last - first) / _DAY)
    everything = np.subtract(*np.quantile(world.times, [0.75, 0.25])) / _DAY
    assert np.median(middle) < 0.75 * everything
    assert np.quantile(middle, 0.2) < 14


def test_active_items_change_from_day_to_day(lively_world):
    """Jaccard similarity of two days' items, mean over July; published as ranges of its days.

    Only the mean agrees: our July thins out, and with it the overlap falls from day to day.
    """
    days = (lively_world.times // _DAY).astype("datetime64[D]")
    july = np.arange("2025-07-01", "2025-08-01", dtype="datetime64[D]")
    active = [set(lively_world.items[days == day].tolist()) for day in july]

    def overlap(lag):
        pairs = zip(active[:-lag], active[lag:], strict=True)
        return np.mean([len(a & b) / len(a | b) for a, b in pairs])

    for lag, jaccard in {1: 0.235, 2: 0.18, 7: 0.10, 18: 0.03}.items():
        assert overlap(lag) == pytest.approx(jaccard, abs=0.05), lag


def test_candidates(world):
    re_ids, params = world.candidate_re_ids, world.params
    assert (re_ids == 0).mean() == pytest.approx(params.cold_candidate_share, abs=0.001)
    positives = np.flatnonzero(world.actions != EXPOSURE)
    newest = np.flatnonzero(np.diff(world.users[positives], append=-1))
    targets = world.items[positives[newest]]
    assert np.isin(targets, re_ids).mean() == pytest.approx(0.80, abs=0.06)


def test_features_cover_what_they_covered(world):
    items, users = world.table("item_feat"), world.table("user_feat")
    for name, (_, _, coverage) in ITEM_FEATURES.items():
        assert 1 - items[name].null_count / items.num_rows == pytest.approx(coverage, abs=0.02)
    for name, (values, coverage) in (USER_SCALARS | USER_LISTS).items():
        assert 1 - users[name].null_count / users.num_rows == pytest.approx(coverage, abs=0.03)
        assert len(world.indexer["f"][name]) == values


def test_the_taxonomy_is_nested(world):
    """117 < 118 < 120 < 119: a fine value nearly always lies in one coarse value."""
    items = world.table("item_feat").select(["117", "118", "120", "119"]).to_pandas().dropna()
    for coarse, fine in (("117", "118"), ("118", "120"), ("120", "119")):
        parents = items.groupby(fine)[coarse]
        commonest = parents.agg(lambda values: values.value_counts().iloc[0])
        assert commonest.sum() / len(items) > 0.97, (coarse, fine)
        assert items[coarse].nunique() < items[fine].nunique()


def test_modalities_cover_as_asked(world):
    known = {str(raw) for raw in world.indexer["i"]}
    known |= {str(raw) for raw in world.table("candidate")["item_id"].to_pylist()}
    for name, width in world.params.modality_widths.items():
        table = world.table(f"mm_emb/emb_{name}_{width}_parquet")
        ids = table["anonymous_cid"].to_pylist()
        assert len(set(ids)) == len(ids)
        valid = table["emb"].is_valid().to_pylist()
        covered = sum(ok and one in known for one, ok in zip(ids, valid, strict=True))
        assert covered / len(known) == pytest.approx(
            world.params.modality_coverage[name], abs=0.002
        )
        assert 0 < table["emb"].null_count < 0.01 * len(ids)
        assert any(one not in known for one in ids)


def test_geometry_of_modality_81(world):
    column = world.table("mm_emb/emb_81_32_parquet")["emb"].drop_null().combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    a, b = np.random.default_rng(0).integers(len(vectors), size=(2, 100_000))
    cosines = (vectors[a] * vectors[b]).sum(axis=1)
    assert cosines.mean() == pytest.approx(published.MEAN_COSINE, abs=0.03)
    assert cosines.std() == pytest.approx(0.277, abs=0.03)
    published_quantiles = {0.01: -0.374, 0.05: -0.251, 0.5: 0.061, 0.95: 0.701, 0.99: 0.934}
    for level, cosine in published_quantiles.items():
        assert np.quantile(cosines, level) == pytest.approx(cosine, abs=0.07), level
    assert np.linalg.norm(vectors.mean(axis=0)) == pytest.approx(0.337, abs=0.04)
    _, sizes = np.unique(vectors, axis=0, return_counts=True)
    assert len(sizes) / len(vectors) == pytest.approx(0.909, abs=0.02)
    assert sizes[sizes > 1].sum() / len(vectors) == pytest.approx(
        published.SHARED_VECTORS, abs=0.03
    )
    centred = vectors - vectors.mean(axis=0)
    variances = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    shares = np.cumsum(variances) / variances.sum()
    published_shares = {1: 0.138, 2: 0.271, 4: 0.465, 8: 0.697, 16: 0.887, 24: 0.970}
    for components, share in published_shares.items():
        assert shares[components - 1] == pytest.approx(share, abs=0.07), components
    nearest = np.sort(vectors[:500] @ vectors.T, axis=1)
    assert np.median(nearest[:, -2]) > 0.99
