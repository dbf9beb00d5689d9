import numpy as np
import pytest

from model.tokenizer import reassignment
from model.tokenizer.reassignment import LOOKED_AT, reassign_exact, reassign_paper
from tests.model.tokenizer import oracles

NUM_CODES, WIDTH = 40, 5


class Draw:
    """Crowded codes: 300 items of 12 prefixes, some of them with nearly as many items as codes."""

    def __init__(self, seed: int, capacity: int) -> None:
        generator = np.random.default_rng(seed)
        self.prefixes = generator.choice(12, 300, p=np.arange(1, 13) / 78).astype(np.int64)
        self.codes = generator.choice(NUM_CODES, 300, p=np.arange(NUM_CODES) / 780).astype(np.int32)
        self.centroids = generator.standard_normal((NUM_CODES, WIDTH)).astype(np.float32)
        noise = 0.5 * generator.standard_normal((300, WIDTH))
        self.residuals = (self.centroids[self.codes] + noise).astype(np.float32)
        self.distances = np.square(noise).sum(axis=1).astype(np.float32)
        self.pinned = np.zeros(300, bool)
        self.capacity = capacity
        assert np.bincount(self.prefixes).max() <= NUM_CODES * 2

    def exact(self, **changes) -> np.ndarray:
        given = vars(self) | changes
        return reassign_exact(
            given["prefixes"],
            given["codes"],
            given["distances"],
            given["pinned"],
            given["centroids"],
            lambda items: given["residuals"][items],
            capacity=given["capacity"],
        )

    def paper(self, neighbors: int, **changes) -> np.ndarray:
        given = vars(self) | changes
        return reassign_paper(
            given["prefixes"],
            given["codes"],
            given["pinned"],
            given["centroids"],
            neighbors=neighbors,
            capacity=given["capacity"],
            seed=3,
        )


def sharing(prefixes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.unique(prefixes * NUM_CODES + codes, return_counts=True)[1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("neighbors", [1, 6, 39])
def test_paper_equals_a_plain_loop(seed, neighbors):
    draw = Draw(seed, capacity=1)
    units = draw.centroids / np.linalg.norm(draw.centroids, axis=1, keepdims=True)
    similar = units @ units.T
    lists = [
        [int(k) for k in np.argsort(-similar[code], kind="stable") if k != code][:neighbors]
        for code in range(NUM_CODES)
    ]
    items = draw.prefixes.tolist(), draw.codes.tolist()
    expected = oracles.paper(*items, lists, NUM_CODES, 1, seed=3)
    assert draw.paper(neighbors).tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_exact_equals_a_plain_loop(seed):
    draw = Draw(seed, capacity=2)
    expected = oracles.exact(
        draw.prefixes,
        draw.codes,
        draw.distances,
        draw.centroids,
        draw.residuals,
        2,
        LOOKED_AT,
    )
    assert np.array_equal(draw.exact(), expected)


@pytest.mark.parametrize("seed", range(4))
def test_exact_leaves_no_conflict_and_moves_as_few_as_possible(seed):
    draw = Draw(seed, capacity=2)
    placed = draw.exact()
    assert sharing(draw.prefixes, placed).max() <= 2
    before = sharing(draw.prefixes, draw.codes)
    assert (placed != draw.codes).sum() == (before - np.minimum(before, 2)).sum()


def test_how_many_residuals_fit_into_memory_changes_nothing(monkeypatch):
    draw = Draw(0, capacity=2)
    whole = draw.exact()
    monkeypatch.setattr(reassignment, "_RESIDUAL_BYTES", 4 * WIDTH * 7)
    assert np.array_equal(draw.exact(), whole)


@pytest.mark.parametrize("how", ["exact", "paper"])
def test_prefixes_that_share_a_count_array_do_not_affect_each_other(how):
    draw, copies = Draw(0, capacity=2), 400
    alone = draw.exact() if how == "exact" else draw.paper(39)
    prefixes = np.arange(copies)[:, None] * 12 + draw.prefixes
    assert prefixes.max() > reassignment._RUNS
    many = {"prefixes": prefixes.ravel()}
    for name in ("codes", "distances", "residuals", "pinned"):
        many[name] = np.concatenate([getattr(draw, name)] * copies)
    placed = draw.exact(**many) if how == "exact" else draw.paper(39, **many)
    assert (placed.reshape(copies, -1) == alone).all()


def test_short_lists_still_find_every_free_code(monkeypatch):
    draw = Draw(1, capacity=2)
    monkeypatch.setattr(reassignment, "_LISTED", 3)
    assert sharing(draw.prefixes, draw.exact()).max() <= 2


@pytest.mark.parametrize("how", ["exact", "paper"])
def test_pinned_items_keep_their_code_and_hold_their_place(how):
    draw = Draw(2, capacity=2)
    pinned = np.random.default_rng(0).random(300) < 0.3
    placed = draw.exact(pinned=pinned) if how == "exact" else draw.paper(39, pinned=pinned)
    assert np.array_equal(placed[pinned], draw.codes[pinned])
    keys = draw.prefixes * NUM_CODES + placed
    crowded = np.isin(keys, keys[pinned]) & ~pinned
    for key in np.unique(keys[crowded]):
        assert (keys == key).sum() <= 2


def test_identical_items_are_placed_by_number():
    codes, distances = np.zeros(5, np.int32), np.zeros(5, np.float32)
    centroids = np.arange(6, dtype=np.float32)[:, None]
    placed = reassign_exact(
        np.zeros(5, np.int64),
        codes,
        distances,
        np.zeros(5, bool),
        centroids,
        lambda items: np.zeros((len(items), 1), np.float32),
        capacity=1,
    )
    assert placed.tolist() == [0, 1, 2, 3, 4]


def _second_of_two(centroids: list[float], residual: float) -> int:
    """The code of an item whose code, 0, another item holds."""
    placed = reassign_exact(
        np.zeros(2, np.int64),
        np.zeros(2, np.int32),
        np.array([0.0, 1.0], np.float32),
        np.zeros(2, bool),
        np.array(centroids, np.float32)[:, None],
        lambda items: np.full((len(items), 1), residual, np.float32),
        capacity=1,
    )
    assert placed[0] == 0
    return int(placed[1])


def test_a_moved_item_may_go_as_far_as_the_last_free_code_that_is_looked_at():
    assert _second_of_two([float(k) for k in range(40)], residual=39.0) == LOOKED_AT


def test_of_equal_codes_the_first_is_taken():
    assert _second_of_two([0.0, 1.0, 1.0, 1.0], residual=2.0) == 1
