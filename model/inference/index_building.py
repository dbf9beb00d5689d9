"""Approximate nearest-neighbour search with faiss: an index with its measured recall.

``ivf`` probes as many lists as it takes to find 95 % of the true ten (on real users), ``hnsw``
traverses a graph. Both are built from a seed, on one thread where more would make the result
nondeterministic.
"""

from dataclasses import replace
from typing import Any, Literal

import faiss
import numpy as np
import torch
from torch import Tensor

from model.inference.filters import Seen
from model.inference.search import ExactSearch
from model.inference.search_index import SearchIndex

Kind = Literal["ivf", "hnsw"]

TARGET_RECALL = 0.95  # of the true ten
HNSW_NEIGHBORS, HNSW_BUILD, HNSW_SEARCH = 32, 200, 128
MIN_POINTS, MAX_POINTS = 39, 64  # per list, to train on: faiss warns below, gains little above


def build_index(
    exact: ExactSearch, item_ids: np.ndarray, kind: Kind, queries: Tensor, *, seed: int
) -> SearchIndex:
    """Build an index and measure it.

    Args:
        exact: the vectors and the bias.
        item_ids: (C,) the item of each row.
        kind: of the index.
        queries: (Q, D) user vectors: for ``ivf`` the even ones choose the number of probes and the
            odd ones measure the recall; for ``hnsw`` all measure it.
        seed: of the inverted lists' k-means.
    """
    bias = exact.bias.cpu().numpy()[:, None]
    points = np.ascontiguousarray(np.hstack([exact.vectors.cpu().numpy(), bias]))
    build = _build_ivf if kind == "ivf" else _build_hnsw
    index, facts = build(points, seed)
    made = SearchIndex(index, item_ids, facts | {"kind": kind, "items": len(points)})
    nothing = torch.zeros(0, dtype=torch.long, device=queries.device)
    _, truth = exact.search(queries, 10, Seen(nothing, nothing, len(points)))
    if kind == "ivf":
        made = _with_enough_probes(made, queries[::2], truth[::2])
        if len(queries) > 1:  # on the queries that chose, recall would be biased upwards
            queries, truth = queries[1::2], truth[1::2]
    measured = {"recall@10": _recall(made, queries, truth), "queries": len(queries)}
    return replace(made, facts=made.facts | measured)


def _build_ivf(points: np.ndarray, seed: int) -> tuple[Any, dict[str, Any]]:
    num_points, width = points.shape
    lists = max(1, min(int(4 * num_points**0.5), num_points // MIN_POINTS))
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.max_points_per_centroid = seed, MAX_POINTS
    index.cp.min_points_per_centroid = 1  # no warning where items are too few for one list
    index.train(points)
    index.add(points)
    index.nprobe = 1
    return index, {"lists": lists}


def _with_enough_probes(made: SearchIndex, queries: Tensor, truth: Tensor) -> SearchIndex:
    """Double the probes until these queries find enough of the true ten."""
    index, lists = made.index, made.facts["lists"]
    while _recall(made, queries, truth) < TARGET_RECALL and index.nprobe < lists:
        index.nprobe = min(2 * index.nprobe, lists)
    return replace(made, facts=made.facts | {"probes": index.nprobe})


def _build_hnsw(points: np.ndarray, seed: int) -> tuple[Any, dict[str, Any]]:
    index = faiss.IndexHNSWFlat(points.shape[1], HNSW_NEIGHBORS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_BUILD
    generator: Any = faiss.RandomGenerator  # pyright: ignore[reportAttributeAccessIssue]
    index.hnsw.rng = generator(seed)  # pyright: ignore[reportAttributeAccessIssue]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # with several, the graph depends on their timing
    try:
        index.add(points)
    finally:
        faiss.omp_set_num_threads(threads)
    index.hnsw.efSearch = HNSW_SEARCH
    return index, {"neighbors": HNSW_NEIGHBORS, "ef_search": HNSW_SEARCH}


def _recall(made: SearchIndex, queries: Tensor, truth: Tensor) -> float:
    """Recall@k of the index, where ``truth`` holds each query's k true neighbours."""
    _, found = made.nearest(queries, truth.shape[1])
    hits = (truth.cpu().numpy()[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hits[truth.cpu().numpy() >= 0].mean())
