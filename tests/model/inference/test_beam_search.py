"""Beam search against enumeration of every legal semantic ID."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from model.inference import beam_search as module
from model.inference.beam_search import beam_search
from tests.model.inference.fakes import TableDecoder, trie_of


@pytest.fixture(params=["compiled", "tensors"])
def both_ways(request, monkeypatch):
    """On a CPU and as on another device."""
    if request.param == "tensors":
        monkeypatch.setattr(module, "best_children_compiled", module.best_children)


def random_sids(sizes: tuple[int, ...], share: float, seed: int = 1) -> np.ndarray:
    everything = np.array(list(itertools.product(*(range(1, size + 1) for size in sizes))))
    return everything[np.random.default_rng(seed).random(len(everything)) < share]


@pytest.mark.parametrize(
    ("sizes", "share", "beam_width", "num_sids"),
    [
        ((5, 7), 0.4, 5, 8),  # as wide as the first level: all legal IDs compete
        ((5, 7), 0.4, 2, 8),  # narrower: only the children of two beams
        ((9, 4), 0.2, 20, 50),  # wider than what is legal, more asked than exist
        ((3, 4, 5), 0.3, 4, 10),  # three levels
        ((3, 4, 5), 0.3, 2, 3),  # fewer prefixes of the second level kept than there are
        ((3, 4, 5), 0.3, 3, 2),  # more beams than semantic IDs
        ((4, 9, 9), 0.6, 8, 1),  # so many more that it matters
        ((6, 4, 4), 0.5, 1, 60),  # one beam has fewer children than are kept
        ((2, 3, 2, 3), 0.5, 3, 7),  # four
        ((12,), 0.5, 3, 4),  # one level: the first is the last
    ],
)
@pytest.mark.usefixtures("both_ways")
def test_equals_the_enumeration_of_legal_ids(sizes, share, beam_width, num_sids):
    codes = random_sids(sizes, share)
    trie, decoder = trie_of(codes), TableDecoder(sizes)
    *_, beams = beam_search(decoder, [0, 1, 2], trie, beam_width=beam_width, num_sids=num_sids)
    assert beams.nodes.shape == beams.log_probs.shape == (3, num_sids)
    for user in range(3):
        legal = set(map(tuple, codes.tolist()))
        expected = decoder.log_probs(user, legal, beam_width, num_sids)
        best = sorted(expected.items(), key=lambda pair: -pair[1])[:num_sids]
        found = trie.prefixes[-1][beams.nodes[user]].tolist()
        assert [tuple(sid) for sid in found[: len(best)]] == [sid for sid, _ in best]
        torch.testing.assert_close(
            beams.log_probs[user, : len(best)], torch.tensor([p for _, p in best])
        )
        # fewer rows rather than garbage
        assert (beams.nodes[user, len(best) :] == -1).all()
        assert (beams.log_probs[user, len(best) :] == -torch.inf).all()


def test_probabilities_of_all_legal_ids_sum_to_the_legal_share_of_level_one():
    sizes = (4, 6)
    codes = random_sids(sizes, 0.5)
    codes = codes[codes[:, 0] != 2]  # no legal ID begins with 2
    decoder = TableDecoder(sizes)
    *_, beams = beam_search(decoder, [0, 1], trie_of(codes), beam_width=4, num_sids=24)
    level_one = decoder.level1_logits([0, 1]).softmax(-1)
    torch.testing.assert_close(beams.log_probs.exp().sum(1), 1.0 - level_one[:, 1])


def test_memory_bound_does_not_change_the_result(monkeypatch):
    sizes = (6, 8)
    trie, decoder = trie_of(random_sids(sizes, 0.6)), TableDecoder(sizes)

    def search() -> module.Beams:
        return beam_search(decoder, list(range(5)), trie, beam_width=4, num_sids=9)[-1]

    monkeypatch.setattr(module, "best_children_compiled", module.best_children)
    whole = search()
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 1)  # one user at a time
    pieces = search()
    assert pieces.nodes.equal(whole.nodes)
    torch.testing.assert_close(pieces.log_probs, whole.log_probs)


@pytest.mark.parametrize("method", ["level1_logits", "expand"])
def test_the_decoder_is_asked_once_per_level(method, monkeypatch):
    sizes = (4, 5)
    trie, decoder = trie_of(random_sids(sizes, 0.5)), TableDecoder(sizes)
    calls: list[int] = []
    original: Callable = getattr(decoder, method)
    monkeypatch.setattr(decoder, method, lambda *a: calls.append(1) or original(*a))
    beam_search(decoder, [0, 1], trie, beam_width=3, num_sids=4)
    assert len(calls) == 1


def test_the_decoder_is_asked_for_prefixes_that_exist(monkeypatch):
    sizes = (3, 4, 5)
    trie, decoder = trie_of(random_sids(sizes, 0.3)), TableDecoder(sizes)
    asked: list[int] = []
    original = decoder.expand
    monkeypatch.setattr(decoder, "expand", lambda s, p: asked.append(p.shape[1]) or original(s, p))
    *_, wide = beam_search(decoder, [0, 1], trie, beam_width=1000, num_sids=30)
    assert asked == [len(trie.prefixes[0]), len(trie.prefixes[1])]
    asked.clear()
    beam_search(decoder, [0, 1], trie, beam_width=2, num_sids=3)
    assert asked == [2, 3]
    assert wide.nodes.shape == (2, 30)
    assert ((wide.nodes >= 0).sum(dim=1) == trie.num_sids).all()


@pytest.mark.usefixtures("both_ways")
def test_nearly_unique_prefixes_do_not_narrow_what_is_found():
    sizes = (4, 30, 30)
    generator = np.random.default_rng(0)
    codes = np.stack([generator.integers(1, size + 1, 100) for size in sizes], axis=1)
    trie = trie_of(codes)
    assert len(trie.prefixes[1]) > 0.6 * trie.num_sids
    *_, beams = beam_search(TableDecoder(sizes), [0, 1], trie, beam_width=3, num_sids=40)
    assert (beams.nodes >= 0).all()
    assert all(len(row.unique()) == 40 for row in beams.nodes)


def test_legal_ids_only_however_improbable():
    trie = trie_of(np.array([[3, 1]]))
    decoder = TableDecoder((4, 5))
    decoder.biases[0][3] = -50.0
    *_, beams = beam_search(decoder, [0], trie, beam_width=2, num_sids=2)
    assert beams.nodes.tolist() == [[0, -1]]
    assert trie.prefixes[-1].tolist() == [[3, 1]]


@pytest.mark.usefixtures("both_ways")
def test_equal_ids_are_all_kept():
    """As many as fit, each once, when everything is as probable."""
    codes = random_sids((4, 6), 0.8)
    decoder = TableDecoder((4, 6))
    for table in (*decoder.weights, *decoder.biases):
        table.zero_()
    decoder.biases[1][:] = 1.5
    *_, beams = beam_search(decoder, [0], trie_of(codes), beam_width=4, num_sids=len(codes) - 3)
    assert (beams.nodes >= 0).all()
    assert len(beams.nodes.unique()) == len(codes) - 3
    assert (beams.log_probs.diff() <= 0).all()
