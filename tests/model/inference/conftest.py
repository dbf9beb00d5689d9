"""A small catalogue, users of it, and both kinds of index."""

import numpy as np
import pytest
import torch

from model.inference.index_building import build_index
from model.inference.search import ExactSearch
from model.inference.search_index import SearchIndex
from tests.model.inference.small_index import NUM_ITEMS, clustered_items, users_near


@pytest.fixture(scope="module")
def exact() -> ExactSearch:
    return clustered_items()


@pytest.fixture(scope="module")
def queries(exact) -> torch.Tensor:
    return users_near(exact)


@pytest.fixture(scope="module", params=["ivf", "hnsw"])
def index(request, exact, queries) -> SearchIndex:
    return build_index(exact, np.arange(1, NUM_ITEMS + 1), request.param, queries, seed=1)
