import numpy as np
import pytest

from model.tokenizer.bounds import BoundedSearch, neighboring_tiles
from model.tokenizer.bounds_kernels import BLOCK_ROWS
from model.tokenizer.kmeans import fit_kmeans
from model.tokenizer.tiles import LANES, NOBODY
from tests.model.tokenizer.worlds import clustered


def squares(vectors, centroids):
    """(n, K) float64 squared distances, from differences."""
    vectors, centroids = vectors.astype(np.float64), centroids.astype(np.float64)
    return np.stack([np.square(vectors - centroid).sum(axis=1) for centroid in centroids], axis=1)


def means(vectors, codes, centroids):
    """Lloyd's step: an empty cluster stays where it is."""
    moved = centroids.copy()
    for k in np.unique(codes):
        moved[k] = vectors[codes == k].astype(np.float64).mean(axis=0)
    return moved


def plain_lloyd(vectors, centroids, iterations):
    for _ in range(iterations):
        centroids = means(vectors, squares(vectors, centroids).argmin(axis=1), centroids)
    return centroids


def bounded_lloyd(vectors, centroids, iterations):
    search = BoundedSearch(vectors)
    for _ in range(iterations):
        centroids = means(vectors, search(centroids), centroids)
    return centroids


@pytest.mark.parametrize("width", [2, 5, 8, 33])
@pytest.mark.parametrize("num_clusters", [1, 7, LANES, 100])
def test_the_centroids_are_those_of_plain_lloyd(width, num_clusters):
    vectors = clustered(5 * BLOCK_ROWS + 3, width, centres=60)
    seeds = vectors[:num_clusters] * np.float32(1.01)
    ours, plain = (lloyd(vectors, seeds, 12) for lloyd in (bounded_lloyd, plain_lloyd))
    assert np.allclose(ours, plain, atol=1e-6)


def test_more_tiles_than_groups():
    vectors = clustered(3000, 8, centres=300)
    seeds = vectors[: 65 * LANES + 5]
    ours, plain = (lloyd(vectors, seeds, 5) for lloyd in (bounded_lloyd, plain_lloyd))
    assert np.allclose(ours, plain, atol=1e-6)


def test_every_code_is_the_nearest_however_centroids_move():
    generator = np.random.default_rng(0)
    vectors = clustered(1000, 16, centres=40) * np.float32(7)
    centroids = vectors[:70]
    search = BoundedSearch(vectors)
    for scale in (1.0, 0.1, 0.1, 0.01, 3.0, 0.0, 0.01, 0.001):
        shift = scale * generator.standard_normal(centroids.shape, np.float32)
        centroids = centroids + shift * (generator.random((len(centroids), 1)) < 0.5)
        distances = squares(vectors, centroids)
        chosen = distances[np.arange(1000), search(centroids)]
        assert np.allclose(chosen, distances.min(axis=1), rtol=1e-5, atol=1e-5)


def test_of_equal_centroids_the_lowest_number_is_taken():
    vectors = clustered(400, 8)
    different = vectors[:20]
    search = BoundedSearch(vectors)
    for scale in (1.0, 1.01, 1.02):
        codes = search(np.concatenate([different, different, different]) * np.float32(scale))
        assert codes.max() < 20


def test_equal_vectors_get_equal_codes_wherever_they_stand():
    different = clustered(57, 8, centres=57)
    vectors = np.tile(different, (11, 1))
    search = BoundedSearch(vectors)
    for scale in (1.0, 0.9, 0.91):
        codes = search(clustered(40, 8, seed=1) * np.float32(scale)).reshape(11, 57)
        assert (codes == codes[0]).all()


def test_fewer_different_vectors_than_clusters():
    vectors = np.repeat(clustered(3, centres=3), 100, axis=0)
    search = BoundedSearch(vectors)
    for _ in range(4):
        codes = search(np.resize(vectors[::100], (50, 8)))
        assert codes.tolist() == [0] * 100 + [1] * 100 + [2] * 100


def test_an_answer_stays_as_it_was_given():
    vectors = clustered(300)
    search = BoundedSearch(vectors)
    answers = [search(clustered(30, seed=seed)) for seed in range(3)]
    again = BoundedSearch(vectors)
    for seed, answer in enumerate(answers):
        assert (again(clustered(30, seed=seed)) == answer).all()


@pytest.mark.parametrize("initialization", ["kmeans++", "sample"])
def test_the_fit_ends_where_lloyd_does_not_move_it(initialization):
    vectors = clustered(2000, 8, centres=30)
    centroids = fit_kmeans(
        vectors,
        40,
        iterations=200,
        initialization=initialization,
        generator=np.random.default_rng(0),
        what="test",
    )
    assert np.allclose(plain_lloyd(vectors, centroids, 1), centroids, atol=1e-6)


@pytest.mark.parametrize("num_centroids", [1, LANES, LANES + 1, 5 * LANES - 3])
def test_tiles_hold_every_centroid_once(num_centroids):
    tiles = neighboring_tiles(clustered(num_centroids))
    members = tiles[tiles != NOBODY]
    assert np.sort(members).tolist() == list(range(num_centroids))
    assert tiles.shape == (-(-num_centroids // LANES), LANES)
    for tile in tiles:
        assert (np.diff(tile[tile != NOBODY]) > 0).all()
