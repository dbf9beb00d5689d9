import json
import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.errors import InputError
from model.tokenizer import nearest, rq_vae
from model.tokenizer import quantizer as quantizer_module
from model.tokenizer.item_vectors import BLOCK_ROWS, ItemVectors
from model.tokenizer.kmeans import fit_kmeans
from model.tokenizer.quality import neighborhood
from model.tokenizer.quantizer import (
    balanced_room,
    fit_quantizer,
    measure,
    quantize,
    sample_size,
)
from model.tokenizer.report import report_row
from model.tokenizer.sids import Occupancy
from model.tokenizer.tokenize import tokenize
from tests.model.tokenizer.worlds import clustered, codebook_params, item_vectors

DEMO = Path(__file__).parents[4] / "shared/data/tencentgr-demo/mm_emb/emb_81_32_parquet"
METHODS = ("residual_kmeans", "balanced_residual_kmeans", "rq_vae")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [[16, 16], [6, 7, 8]])
def test_no_conflict_remains_where_there_is_room(method, sizes):
    vectors = item_vectors(clustered(250))
    tokens = tokenize(vectors, codebook_params(method=method, sizes=sizes), 0)
    row = report_row(tokens)
    assert row["after"]["conflicts"] == 0
    assert row["after"]["unique_pairs"] == 250
    assert row["before"]["conflicts"] > 0
    assert (tokens.final.codes >= 0).all()
    assert (tokens.final.codes < sizes).all()


@pytest.mark.parametrize("reassignment", ["paper", "exact"])
@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_codes(method, reassignment):
    params = codebook_params(method=method, reassignment=reassignment)
    one, other = (tokenize(item_vectors(clustered(200)), params, 5) for _ in range(2))
    assert one.final.codes.tobytes() == other.final.codes.tobytes()
    assert json.dumps(report_row(one)) == json.dumps(report_row(other))


def test_a_full_codebook_is_filled_to_the_last_semantic_id():
    tokens = tokenize(item_vectors(clustered(256)), codebook_params(), 0)
    assert Occupancy.of(tokens.final.codes, [16, 16]).unique_pairs == 256
    assert tokens.spilled.any()


def test_a_capacity_lets_items_share():
    tokens = tokenize(item_vectors(clustered(300)), codebook_params(sizes=[8, 8], capacity=5), 0)
    keys = tokens.final.codes @ [8, 1]
    assert np.bincount(keys).max() == 5


@pytest.mark.parametrize("reassignment", ["none", "exact"])
def test_items_beyond_the_capacity_are_counted_beside_the_papers_conflicts(reassignment):
    params = codebook_params(sizes=[8, 8], capacity=5, reassignment=reassignment)
    tokens = tokenize(item_vectors(clustered(300)), params, 0)
    row = report_row(tokens)
    held = np.bincount(tokens.first.codes @ [8, 1])
    assert row["before"]["over_capacity"] == (held - 5)[held > 5].sum() > 0
    resolved = reassignment == "exact"
    assert row["after"]["over_capacity"] == (0 if resolved else row["before"]["over_capacity"])
    assert row["after"]["conflicts"] >= 300 - 64  # whatever was resolved


@pytest.mark.parametrize("method", METHODS)
def test_one_level_has_one_prefix(method):
    params = codebook_params(method=method, sizes=[64], capacity=5)
    tokens = tokenize(item_vectors(clustered(250)), params, 0)
    assert tokens.final.codes.shape == (250, 1)
    assert np.bincount(tokens.final.codes[:, 0]).max() == 5


@pytest.mark.parametrize(("sizes", "limited"), [([16], 1), ([16, 16], 1), ([8, 8, 8], 2)])
def test_balanced_clusters_are_hardly_larger_than_the_mean(sizes, limited):
    """Of each level but the last, whose codes tell items of one cluster apart; of the only one."""
    method = {"method": "balanced_residual_kmeans", "reassignment": "none"}
    vectors = item_vectors(clustered(2000, 16, centres=20))
    codes = tokenize(vectors, codebook_params(sizes=sizes, **method), 0).final.codes
    for level in range(1, limited + 1):
        clusters = np.unique(codes[:, :level], axis=0, return_counts=True)[1]
        assert clusters.max() <= np.ceil(1.1 * 2000 / np.prod(sizes[:level]))


def test_balanced_codebooks_are_fitted_to_balanced_clusters():
    """Not only the codes are balanced: centroids have moved to where the vectors are dense."""
    vectors, largest = item_vectors(clustered(4000, 16, centres=5)), {}
    for method in METHODS[:2]:
        params = codebook_params(method=method, iterations=10)
        nearest_codes = quantize(fit_quantizer(vectors, params, 0), vectors).codes[:, 0]
        largest[method] = np.bincount(nearest_codes).max()
    assert largest["balanced_residual_kmeans"] < 0.8 * largest["residual_kmeans"]


@pytest.mark.parametrize(("items", "most"), [(100, 11), (200, 22), (700, 77), (101, 12)])
def test_a_balanced_cluster_has_a_tenth_more_than_the_mean_rounded_up(items, most):
    assert balanced_room(items, [10]) == most  # as floats, 1.1 times 10 is more than 11


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize("sizes", [[16, 16], [8, 8, 8]])
def test_a_level_is_fitted_to_what_the_items_have_left(method, sizes, monkeypatch):
    """Where clusters are balanced, that is more than the nearest centroids leave over."""
    samples = []

    def remembered(sample, *arguments, **settings):
        samples.append(sample.copy())
        return fit_kmeans(sample, *arguments, **settings)

    monkeypatch.setattr(quantizer_module, "fit_kmeans", remembered)
    vectors = item_vectors(clustered(2000, 16, centres=20))
    tokens = tokenize(vectors, codebook_params(method=method, sizes=sizes, capacity=10), 0)
    for level, sample in enumerate(samples):
        left = tokens.quantizer.residuals(vectors.matrix, tokens.first.codes[:, :level])
        assert np.allclose(sample, left, atol=1e-6)


def test_without_re_assignment_any_number_may_share():
    params = codebook_params(sizes=[8, 8], reassignment="none")
    assert len(tokenize(item_vectors(clustered(300)), params, 0).final.codes) == 300


def test_identical_vectors_get_distinct_ids_in_the_order_of_their_numbers():
    matrix = np.concatenate([np.repeat(clustered(1), 40, axis=0), clustered(100, seed=2)])
    codes = tokenize(item_vectors(matrix), codebook_params(), 0).final.codes
    assert len(np.unique(codes, axis=0)) == 140
    again = tokenize(item_vectors(matrix), codebook_params(), 0).final.codes
    assert np.array_equal(codes, again)


@pytest.mark.parametrize("method", METHODS)
def test_one_vector_for_all_is_said_and_still_one_to_one(method, caplog):
    matrix = np.repeat(clustered(1), 200, axis=0)
    with caplog.at_level(logging.WARNING):
        tokens = tokenize(item_vectors(matrix), codebook_params(method=method), 0)
    assert "nearly all vectors are alike" in caplog.text
    assert "level 1 uses 1 of 16 codes" in caplog.text
    row = report_row(tokens)
    assert row["loss1"] == row["loss2"] == 0.0
    assert row["after"]["conflicts"] == 0
    assert row["drift"] == 0.0  # codes that no item had first are copies, or fit who has them then


def test_a_sample_smaller_than_the_codebook_is_named_as_the_reason(caplog):
    with caplog.at_level(logging.WARNING):
        tokenize(item_vectors(clustered(250)), codebook_params(training_sample=5), 0)
    assert "level 1 uses 5 of 16 codes; codebook.training_sample is 5: raise it" in caplog.text
    assert "too few items differ" not in caplog.text


def test_two_first_codes_are_no_sign_that_vectors_are_alike(caplog):
    with caplog.at_level(logging.WARNING):
        tokens = tokenize(item_vectors(clustered(250)), codebook_params(sizes=[2, 128]), 0)
    assert np.bincount(tokens.first.codes[:, 0]).max() > 125
    assert "alike" not in caplog.text


def test_the_counts_are_the_papers():
    tokens = tokenize(item_vectors(clustered(250)), codebook_params(reassignment="none"), 0)
    row = report_row(tokens)
    pairs = len({tuple(sid) for sid in tokens.first.codes.tolist()})
    assert row["before"] == row["after"]
    assert row["before"]["conflicts"] == 250 - pairs
    assert row["before"]["conflict_rate"] == (250 - pairs) / 250
    assert row["moved"] == 0


def test_losses_are_mean_squared_residuals():
    vectors = item_vectors(clustered(250) * 3.0)
    tokens = tokenize(vectors, codebook_params(), 0)
    unit = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    residual, losses = unit, []
    for level, centroids in enumerate(tokens.quantizer.centroids):
        residual = residual - centroids[tokens.first.codes[:, level]]
        losses.append(np.square(residual).sum(axis=1).mean())
    row = report_row(tokens)
    assert row["loss1"] == pytest.approx(losses[0], rel=1e-5)
    assert row["loss2"] == pytest.approx(losses[1], rel=1e-5)
    assert [level["inertia"] for level in row["levels"]] == [row["loss1"], row["loss2"]]


def test_losses_of_latent_codes_are_those_of_the_vectors():
    """What their best codebooks leave over of the vectors, in numbers like those of k-means."""
    vectors = item_vectors(clustered(250) * 3.0)
    tokens = tokenize(vectors, codebook_params(method="rq_vae"), 0)
    residual = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    row = report_row(tokens)
    for level, codes in enumerate(tokens.first.codes.T, 1):
        for code in np.unique(codes):
            residual[codes == code] -= residual[codes == code].mean(axis=0)
        assert row[f"loss{level}"] == pytest.approx(np.square(residual).sum(axis=1).mean(), 1e-4)
    assert row["before"]["mean_distance"] == pytest.approx(np.linalg.norm(residual, axis=1).mean())
    assert row["drift"] > 0.0
    latent = np.sqrt(tokens.final.distances[:, -1]).mean()
    assert row["codebook_distance"] == pytest.approx(latent)


def test_distances_after_are_those_of_the_final_codes():
    vectors = item_vectors(clustered(256))
    for reassignment in ("paper", "exact"):
        tokens = tokenize(vectors, codebook_params(reassignment=reassignment), 0)
        measured = measure(tokens.quantizer, vectors, tokens.final.codes)
        assert np.allclose(tokens.final.distances, measured, atol=1e-6)


def test_the_exact_method_leaves_fewer_conflicts_than_the_papers_at_less_drift():
    vectors = item_vectors(clustered(600, centres=40))
    rows = [
        report_row(tokenize(vectors, codebook_params(sizes=[32, 32], reassignment=how), 0))
        for how in ("paper", "exact")
    ]
    assert rows[0]["after"]["conflicts"] > rows[1]["after"]["conflicts"] == 0
    assert rows[1]["drift"] < rows[0]["drift"]


def test_how_many_rows_are_read_at_once_changes_nothing():
    vectors = item_vectors(clustered(3 * BLOCK_ROWS + 100, 6, centres=100))
    quantizer = fit_quantizer(vectors, codebook_params(training_sample=1000), 0)
    expected = quantize(quantizer, vectors)
    for blocks in (1, 2):
        found = quantize(quantizer, vectors, rows_at_once=blocks * BLOCK_ROWS)
        assert found.codes.tobytes() == expected.codes.tobytes()
        assert found.distances.tobytes() == expected.distances.tobytes()


@pytest.mark.parametrize("method", METHODS[:2])
def test_how_many_rows_are_fitted_at_once_changes_no_byte(method, monkeypatch):
    vectors = item_vectors(3.0 * clustered(2000, 33, centres=30))
    params = codebook_params(method=method, sizes=[30, 20, 8])
    levels = []
    for rows_at_once in (4096, 700, 1):
        monkeypatch.setattr(nearest, "_ROWS_AT_ONCE", rows_at_once)
        levels.append([level.tobytes() for level in fit_quantizer(vectors, params, 0).centroids])
    assert levels[0] == levels[1] == levels[2]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("method", METHODS)
def test_a_sample_is_fitted_in_place(method, metric, monkeypatch):
    monkeypatch.setattr(rq_vae, "SEEDING_ROWS", 2000)  # fewer than the sample has
    vectors = item_vectors(clustered(20_000, 256))
    params = codebook_params(method=method, metric=metric, iterations=2)
    fit_quantizer(vectors.subset(np.arange(20_000) < 1000), params, 0)  # compiles
    tracemalloc.start()
    fit_quantizer(vectors, params, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.0 * vectors.matrix.nbytes  # with a copy beside it: more than two samples


def test_wide_vectors_are_fitted_on_as_many_as_fit_into_memory(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    vectors = item_vectors(clustered(300))
    assert [sample_size(vectors, wanted) for wanted in (100, 1000)] == [100, 300]
    fit_quantizer(vectors, codebook_params(training_sample=1000), 0)
    assert caplog.text == ""  # all there are
    monkeypatch.setattr(quantizer_module, "MAX_SAMPLE_BYTES", 50 * 8 * 4)
    assert sample_size(vectors, 100) == 50
    assert fit_quantizer(vectors, codebook_params(), 0).sizes == [16, 16]
    assert "collaborative: the codebooks are fitted to 50 vectors and not to 300" in caplog.text


def test_a_vector_that_is_no_number_is_refused_by_name():
    matrix = clustered(10)
    matrix[6, 2] = np.nan
    with pytest.raises(InputError, match="the vector of item 7 is not finite"):
        item_vectors(matrix)


@pytest.mark.parametrize("scale", [1e30, 1e-40])
def test_vectors_that_float32_cannot_square_are_refused_by_name(scale):
    matrix = clustered(10)
    matrix[6] = np.float32(scale)
    with pytest.raises(InputError, match=r"largest coordinate of item 7's vector is 1e[+-].*scale"):
        item_vectors(matrix)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_vectors_of_any_other_length_get_an_id_each(metric, scale):
    matrix = np.float32(scale) * clustered(200)
    row = report_row(tokenize(item_vectors(matrix), codebook_params(metric=metric), 0))
    assert row["levels"][0]["used"] == 16
    assert row["after"]["unique_pairs"] == 200
    assert np.isfinite([row["loss1"], row["loss2"], row["drift"]]).all()


@pytest.mark.parametrize("method", ["residual_kmeans", "balanced_residual_kmeans"])
def test_what_all_vectors_share_costs_nothing(method):
    """Squares of float32 would err by more than what tells these vectors apart."""
    settings = {"metric": "l2", "method": method, "sizes": [40, 64], "reassignment": "none"}
    vectors = 0.1 * clustered(2000, 16, centres=40)
    near, far = (
        report_row(tokenize(item_vectors(vectors + offset), codebook_params(**settings), 0))
        for offset in np.float32([0.0, 100.0])
    )
    assert far["loss1"] == pytest.approx(near["loss1"], rel=0.02)
    assert far["loss2"] == pytest.approx(near["loss2"], rel=0.02)
    assert far["levels"][0]["largest_share"] == pytest.approx(
        near["levels"][0]["largest_share"], rel=0.1
    )


@pytest.mark.parametrize("unit", np.float32([2.0**-20, 2.0**20]))  # float32 rounds none of them
def test_an_rq_vae_learns_the_same_in_every_unit(unit):
    settings = codebook_params(method="rq_vae", metric="l2")
    vectors = clustered(250, 16, centres=30)
    plain, other = (tokenize(item_vectors(one), settings, 0) for one in (vectors, unit * vectors))
    assert other.final.codes.tobytes() == plain.final.codes.tobytes()
    for level, of_plain in zip(other.quantizer.centroids, plain.quantizer.centroids, strict=True):
        assert np.array_equal(level, unit * of_plain)
    rows = report_row(plain), report_row(other)
    assert rows[1]["codebook_distance"] == pytest.approx(unit * rows[0]["codebook_distance"])
    assert rows[1]["loss2"] == pytest.approx(float(unit) ** 2 * rows[0]["loss2"])


def test_an_rq_vae_does_not_mind_what_all_vectors_share():
    settings = codebook_params(method="rq_vae", metric="l2", reassignment="none", iterations=20)
    vectors = clustered(2000, 16, centres=40)
    near, far = (
        report_row(tokenize(item_vectors(vectors + offset), settings, 0))
        for offset in np.float32([0.0, 100.0])
    )
    assert far["loss2"] == pytest.approx(near["loss2"], rel=0.1)
    assert far["levels"][0]["used"] == near["levels"][0]["used"] == 16


@pytest.mark.parametrize("spread", [0.0, 1e-44, 1e-36, 1e-28])
def test_an_rq_vae_of_vectors_that_hardly_differ_has_finite_weights(spread):
    settings = codebook_params(method="rq_vae", metric="l2", iterations=2)
    vectors = np.float32(spread) * clustered(100, 16)
    vectors[:, 0] = 1.0
    tokens = tokenize(item_vectors(vectors), settings, 0)
    assert all(np.isfinite(weights).all() for weights in tokens.quantizer.encoder.values())
    assert len(np.unique(tokens.final.codes, axis=0)) == 100


@pytest.mark.parametrize("reassignment", ["exact", "paper"])
def test_what_all_codes_of_a_single_level_share_hides_no_neighbour(reassignment):
    """Neither from items that look for a free code nor from the report."""
    settings = {"metric": "l2", "sizes": [256], "capacity": 10, "reassignment": reassignment}
    vectors, found = 0.1 * clustered(2000, 16, centres=40), {}
    for offset in np.float32([10.0, 100.0]):
        tokens = tokenize(item_vectors(vectors + offset), codebook_params(**settings), 0)
        quality = neighborhood(
            tokens.quantizer, tokens.vectors, tokens.final.codes, vicinity=8, seed=0
        )
        found[int(offset)] = report_row(tokens)["drift"], quality["vicinity"]["recall@10"]
    assert found[100] == pytest.approx(found[10], rel=0.05)


def test_zero_vectors_are_left_out_and_counted(caplog):
    matrix = clustered(10)
    matrix[[2, 5]] = 0.0
    vectors = item_vectors(matrix)
    assert vectors.item_ids.tolist() == [1, 2, 4, 5, 7, 8, 9, 10]
    assert np.array_equal(vectors.take(np.array([2])), matrix[[3]])
    assert report_row(tokenize(vectors, codebook_params(), 0))["excluded"] == 2
    assert "2 zero vectors" in caplog.text
    with pytest.raises(InputError, match="vectors are zero"):
        item_vectors(np.zeros((3, 4), np.float32))


def test_ids_that_do_not_fit_the_matrix_are_refused():
    with pytest.raises(InputError, match="3 item ids, but 4 vectors"):
        ItemVectors.of("81", np.arange(3, dtype=np.int32), clustered(4))


@pytest.mark.skipif(not DEMO.exists(), reason=f"{DEMO} is absent")
def test_real_vectors_get_an_id_each():
    vectors = pq.read_table(DEMO)["emb"].combine_chunks().drop_null()
    matrix = vectors.values.to_numpy().reshape(len(vectors), -1).astype(np.float16)
    assert len(np.unique(matrix, axis=0)) < 0.91 * len(matrix)
    params = codebook_params(sizes=[256, 256], iterations=5)
    row = report_row(tokenize(item_vectors(matrix, "81"), params, 0))
    assert row["before"]["conflict_rate"] > 0.5
    assert row["after"]["unique_pairs"] == row["items"] == len(matrix)
