"""The two counters against loops over pairs."""

import numpy as np
import pytest
import torch
from scipy import sparse

from model.inference import baselines
from model.inference.baselines import Cooccurrence, Popularity
from model.inference.filters import Seen, seen_items
from tests.model.inference.fakes import random_interactions, training_counts

NOTHING = torch.zeros(0, dtype=torch.long)


def test_popular_items_first_seen_ones_left_out():
    popularity = Popularity.of(np.array([3, 9, 1, 9, 5]))
    assert popularity.order.tolist() == [1, 3, 4, 0, 2]
    seen = Seen(torch.tensor([1, 1, 1]), torch.tensor([1, 2, 4]), 5)
    assert popularity.lists(seen, 2, 3).tolist() == [[1, 3, 4], [3, 0, -1]]
    assert popularity.lists(Seen(NOTHING, NOTHING, 5), 1, 2).tolist() == [[1, 3]]


def slow_scores(interactions, user: int, counts: np.ndarray) -> np.ndarray:
    """(num_items + 1,) scores of one user, pair by pair."""
    transitions = np.zeros((interactions.num_items + 1, interactions.num_items + 1))
    for other in range(interactions.num_users):
        begin, end = interactions.offsets[other], interactions.train_end[other]
        history = interactions.item_ids[begin:end]
        for i in range(len(history)):
            for distance in range(1, 6):
                if i + distance < len(history):
                    earlier, later = history[i], history[i + distance]
                    transitions[earlier, later] += 1 / distance
                    transitions[later, earlier] += 0.3 / distance
    transitions /= np.sqrt(counts + 3.0)
    begin, end = interactions.offsets[user], interactions.test_event[user]
    newest = interactions.item_ids[begin:end][::-1][:10]
    scores = sum(0.8**k * transitions[item] for k, item in enumerate(newest))
    return scores + 1e-6 * counts


@pytest.mark.parametrize("events_at_once", [7, 2_000_000])
def test_cooccurrence_is_the_counter_written_as_loops(events_at_once, monkeypatch):
    monkeypatch.setattr(baselines, "EVENTS_AT_ONCE", events_at_once)
    interactions = random_interactions(30, 25)
    counts = training_counts(interactions)
    allowed = np.arange(1, 26)[counts[1:] > 0]
    rows = np.full(26, -1)
    rows[allowed] = np.arange(len(allowed))
    users = np.array([3, 4, 11])
    counter = Cooccurrence.count(interactions, rows, counts[allowed], interactions.item_ids[:])
    seen = seen_items(
        interactions, users, "test", action_types=[0, 1, 2], rows=rows, num_rows=len(allowed)
    )
    popularity = Popularity.of(counts[allowed])
    lists = counter.lists(interactions, users, "test", seen=seen, popularity=popularity, k=5)
    for user, found in zip(users, lists, strict=True):
        scores = slow_scores(interactions, user, counts)[allowed]
        begin, end = interactions.offsets[user], interactions.test_event[user]
        hidden = np.isin(allowed, interactions.item_ids[begin:end])
        scores[hidden] = -np.inf
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][:5], rtol=1e-5)


def test_held_out_events_are_not_counted():
    interactions = random_interactions(10, 20)
    counts = training_counts(interactions)
    rows = np.arange(-1, 20)
    everything = np.arange(1, 21)
    before = Cooccurrence.count(interactions, rows, counts[1:], everything)
    for user in range(10):
        interactions.item_ids[interactions.train_end[user] : interactions.offsets[user + 1]] = 7
    after = Cooccurrence.count(interactions, rows, counts[1:], everything)
    assert (before.transitions != after.transitions).nnz == 0


def test_what_was_counted_is_not_copied_for_every_block(monkeypatch):
    monkeypatch.setattr(baselines, "EVENTS_AT_ONCE", 7)
    interactions = random_interactions(300, 100)
    added: list[int] = []  # entries copied
    plus = sparse.csr_matrix.__add__

    def counting(one, other):
        added.append(one.nnz + other.nnz)
        return plus(one, other)

    monkeypatch.setattr(sparse.csr_matrix, "__add__", counting)
    counts = training_counts(interactions)[1:]
    everything = np.arange(1, 101)
    Cooccurrence.count(interactions, np.arange(-1, 100), counts, everything)
    pairs = 2 * sum(
        max(length - distance, 0)
        for length in interactions.train_end - interactions.offsets[:-1]
        for distance in range(1, 6)
    )
    assert len(added) > 1000  # ten for a block, and what carries
    assert sum(added) <= 20 * pairs  # of which 10 in the blocks, 9 = log2 of them between


def test_popular_items_fill_up_a_short_list_once_each():
    best = np.array([[4, -1, -1], [2, 0, -1], [5, 6, 7]])
    spare = np.array([[4, 4, 3, 2, 1, 0], [0, 2, -1, -1, -1, -1], [1, 2, 3, 4, 5, 6]])
    filled = baselines._fill_up(best, spare)
    assert filled.tolist() == [[4, 3, 2], [2, 0, -1], [5, 6, 7]]
