"""What is built, and how good it is said to be."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.inference.approximate_search import IndexSearch
from model.inference.filters import Seen
from model.inference.index_building import build_index
from model.inference.search import ExactSearch
from tests.model.inference.small_index import NUM_ITEMS


def test_measured_recall_is_the_share_of_the_true_ten(index, exact, queries):
    assert index.facts["recall@10"] >= 0.9
    scores = queries @ exact.vectors.T + exact.bias
    truth = scores.topk(10).indices
    nothing = torch.zeros(0, dtype=torch.long)
    _, found = IndexSearch(index, exact).search(queries, 10, Seen(nothing, nothing, NUM_ITEMS))
    recalls = np.array([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)])
    measured = recalls[1::2] if index.facts["kind"] == "ivf" else recalls
    assert measured.mean() == pytest.approx(index.facts["recall@10"], abs=0.002)
    assert len(measured) == index.facts["queries"]


def test_the_queries_that_measure_the_recall_choose_no_probes(exact, queries):
    items = np.arange(1, NUM_ITEMS + 1)
    one = build_index(exact, items, "ivf", queries, seed=1)
    strangers = queries.clone()
    strangers[1::2] *= 0.05  # the bias decides, and few lists find little
    two = build_index(exact, items, "ivf", strangers, seed=1)
    assert 1 < two.facts["probes"] == one.facts["probes"]
    assert two.facts["recall@10"] < one.facts["recall@10"]
    alone = build_index(exact, items, "ivf", queries[:1], seed=1)
    assert alone.facts["queries"] == 1


def test_a_tiny_catalogue_is_indexed_without_a_word(capfd):
    few = ExactSearch(F.normalize(torch.randn(12, 4), dim=-1), torch.zeros(12))
    index = build_index(few, np.arange(12), "ivf", torch.randn(3, 4), seed=0)
    assert index.facts["lists"] == 1
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
