"""Approximate nearest-neighbour search with faiss: a saved index with its measured recall.

``ivf`` probes as many lists as it takes to find 95 % of the true ten (on real users), ``hnsw``
traverses a graph. Both are built from a seed, on one thread where more would make the result
nondeterministic. faiss returns -1 where it finds too few: such a user is searched exactly, so that
a -1 never becomes an item. Built and stored on the CPU; where faiss has a GPU, ``ivf`` is searched
there.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import faiss
import numpy as np
import torch
from torch import Tensor

from model.artifact import (
    atomic_folder,
    open_array,
    read_json,
    write_json,
)
from model.errors import InputError
from model.inference.filters import Seen
from model.inference.recommender import Recommender
from model.inference.search import ExactSearch
from model.inference.shards import fingerprint
from model.params import LARGEST
from model.partial_folders import remove_partial_folders
from model.sources import hash_sources

Kind = Literal["ivf", "hnsw"]

SEARCH_INDEX = "search_index"  # folder of the indexes beside the artefacts
SEED = 0
KEPT = 2  # most recently used indexes of a folder: the champion's and the challenger's
SAMPLE_USERS = 1000  # whose vectors choose the probes and measure the recall
TARGET_RECALL = 0.95  # of the true ten
HNSW_NEIGHBORS, HNSW_BUILD, HNSW_SEARCH = 32, 200, 128
GPU_AT_MOST = 2048  # results and probes of a search on a GPU: faiss refuses more
MIN_POINTS, MAX_POINTS = 39, 64  # per list, to train on: faiss warns below, gains little above


@dataclass(frozen=True)
class SearchIndex:
    """A faiss index over catalogue rows.

    Attributes:
        index: inner product over vectors with the bias as one more dimension.
        item_ids: (C,) int32, the item of each row.
        facts: ``kind``, ``recall@10`` against exact search, number of ``queries`` that measured it
            (held out from the choice of probes, unless there is only one), and what was chosen
            (``lists``, ``probes`` or ``ef_search``).
    """

    index: Any
    item_ids: np.ndarray
    facts: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the index, its items and its facts."""
        needed = self.index.ntotal * (self.index.d * 4 + 300)
        with atomic_folder(folder, needed_bytes=needed) as out:
            faiss.write_index(self.index, str(out / "index.faiss"))
            np.save(out / "item_ids.npy", self.item_ids)
            write_json(out / "search_index.json", self.facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: a file is missing or damaged, with its name.
        """
        file = Path(folder) / "index.faiss"
        facts = read_json(Path(folder) / "search_index.json")
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise InputError(f"{file}: not a readable faiss index; build it again") from error
        _set_search_width(index, facts)
        return cls(index, open_array(Path(folder) / "item_ids.npy"), facts)


@dataclass(frozen=True)
class IndexSearch:
    """Search an index, and exactly where it finds too few items; see ``VectorSearch``.

    Attributes:
        index: over the rows of ``exact``.
        exact: the vectors themselves.
        deepest: most results that the index can return; users who need more are searched exactly.
        complete: whether short lists are searched exactly; else they are padded with -1.
    """

    index: SearchIndex
    exact: ExactSearch
    deepest: int = LARGEST
    complete: bool = True

    @property
    def facts(self) -> Mapping[str, Any]:
        """The index's facts, see :class:`SearchIndex`."""
        return self.index.facts

    def search(self, queries: Tensor, k: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """Fetch as many more items as a user has seen, and filter those out."""
        scores = queries.new_full((len(queries), k), -torch.inf)
        rows = torch.full((len(queries), k), -1, device=queries.device)
        depths = self._depths(k, torch.bincount(seen.owners, minlength=len(queries)))
        for depth in depths.unique().tolist():
            chosen = (depths == depth).nonzero().flatten()
            scores[chosen], rows[chosen] = self._unseen(
                queries[chosen], k, depth, seen.of_users(chosen)
            )
        short = (rows[:, -1] < 0).nonzero().flatten()
        if self.complete and len(short):
            scores[short], rows[short] = self.exact.search(queries[short], k, seen.of_users(short))
        return scores, rows

    def _depths(self, k: int, num_seen: Tensor) -> Tensor:
        """(B,) int64 search depth of each user, who has seen (B,) int64 items.

        Which of several tied items an index returns depends on the depth. To be batch-invariant, a
        user's depth therefore follows from that user's history alone; it is rounded up to a power
        of two, so that a few searches serve the batch.
        """
        rounded = 2 ** torch.frexp((k + num_seen - 1).double()).exponent.long()
        return rounded.clamp(max=min(len(self.exact.vectors), self.deepest))

    def _unseen(self, queries: Tensor, k: int, depth: int, seen: Seen) -> tuple[Tensor, Tensor]:
        """The k best unseen of ``depth`` results of the index, padded with -1."""
        found, places = self.index.index.search(_with_one(queries), depth)
        rows = torch.from_numpy(places).to(queries.device)
        keep = (rows >= 0) & ~seen.contains(rows)
        order = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :k]
        kept = keep.gather(1, order)
        rows = torch.where(kept, rows.gather(1, order), -1)
        scores = torch.from_numpy(found).to(queries.device).gather(1, order)
        scores = torch.where(kept, scores, -torch.inf)
        missing = (0, k - rows.shape[1])
        rows = torch.nn.functional.pad(rows, missing, value=-1)
        return torch.nn.functional.pad(scores, missing, value=-torch.inf), rows


def with_index(recommender: Recommender, folder: Path | None) -> tuple[Recommender, dict[str, Any]]:
    """Give a recommender the search that ``cascade.search`` names.

    Args:
        recommender: with exact search.
        folder: cache of indexes, each in a folder named by a hash of what it was built from, so
            that the same vectors are indexed once; None caches nothing.

    Returns:
        The recommender and the facts of its index (``kind`` alone where the search is exact).
    """
    kind, exact = recommender.params.search, recommender.search
    if kind == "exact":
        return recommender, {"kind": kind}
    assert isinstance(exact, ExactSearch), "an index is built once"
    num_users = recommender.interactions.num_users
    users = np.unique(np.linspace(0, num_users - 1, min(SAMPLE_USERS, num_users)).astype(np.int64))
    batches = recommender.batches("submission", users)
    queries = torch.cat([recommender.encode(batch)[1] for _, batch in batches])
    index = _open_or_build(exact, recommender.catalogue.item_ids, kind, queries, folder)
    search = on_gpu(IndexSearch(index, exact), recommender.device)
    return replace(recommender, search=search), index.facts


def on_gpu(search: IndexSearch, device: torch.device) -> IndexSearch:
    """The search with its index copied to the GPU; unchanged without one or with too many probes.

    faiss does not move graphs to a GPU.
    """
    has_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    probes = search.index.facts.get("probes", GPU_AT_MOST + 1)
    if device.type != "cuda" or not has_gpu or probes > GPU_AT_MOST:
        return search
    number = torch.cuda.current_device() if device.index is None else device.index
    moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, search.index.index)
    return replace(search, index=replace(search.index, index=moved), deepest=GPU_AT_MOST)


def _open_or_build(
    exact: ExactSearch, item_ids: np.ndarray, kind: Kind, queries: Tensor, folder: Path | None
) -> SearchIndex:
    """Open the cached index of these inputs and this code; build it if missing or damaged."""
    if folder is None:
        return build_index(exact, item_ids, kind, queries, seed=SEED)
    arrays = (x.cpu().numpy() for x in (exact.vectors, exact.bias, queries))
    builder = (hash_sources("inference/search_index.py"), faiss.__version__)
    own = folder / fingerprint([kind, *builder, item_ids, *arrays])
    if own.exists():
        with suppress(InputError):
            index = SearchIndex.load(own)
            with suppress(OSError):  # read-only, or just removed
                os.utime(own)  # the least recently used is evicted first
            return index
    index = build_index(exact, item_ids, kind, queries, seed=SEED)
    index.save(own)
    _forget_old(folder)
    return index


def _forget_old(folder: Path) -> None:
    """Evict all but the most recently used indexes; skip what another process is writing."""
    remove_partial_folders(folder / "*")  # of all indexes, left by dead writers
    finished = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for other in sorted(finished, key=_last_used)[:-KEPT]:
        shutil.rmtree(other, ignore_errors=True)


def _last_used(path: Path) -> float:
    """When a folder was last used; 0 where another process has just removed it."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


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
    nothing = torch.zeros(0, dtype=torch.long, device=queries.device)
    _, truth = exact.search(queries, 10, Seen(nothing, nothing, len(points)))
    if kind == "ivf":
        _choose_probes(index, facts, queries[::2], truth[::2])
        if len(queries) > 1:  # on the queries that chose, recall would be biased upwards
            queries, truth = queries[1::2], truth[1::2]
    recall = _recall(index, queries, truth)
    facts |= {"kind": kind, "recall@10": recall, "queries": len(queries), "items": len(points)}
    return SearchIndex(index, item_ids, facts)


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
    return index, {"lists": lists, "probes": 1}


def _choose_probes(index: Any, facts: dict[str, Any], queries: Tensor, truth: Tensor) -> None:
    """Double the probes until these queries find enough of the true ten."""
    while _recall(index, queries, truth) < TARGET_RECALL and facts["probes"] < facts["lists"]:
        facts["probes"] = min(2 * facts["probes"], facts["lists"])
        _set_search_width(index, facts)


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


def _set_search_width(index: Any, facts: dict[str, Any]) -> None:
    """Set the number of probes, or hnsw's ``efSearch``, from the index's facts."""
    if "probes" in facts:
        index.nprobe = facts["probes"]
    else:
        index.hnsw.efSearch = facts["ef_search"]


def _recall(index: Any, queries: Tensor, truth: Tensor) -> float:
    """Recall@k of the index, where ``truth`` holds each query's k true neighbours."""
    _, found = index.search(_with_one(queries), truth.shape[1])
    hits = (truth.cpu().numpy()[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hits[truth.cpu().numpy() >= 0].mean())


def _with_one(queries: Tensor) -> np.ndarray:
    """Queries with a 1 appended, which multiplies the bias."""
    ones = torch.ones(len(queries), 1, device=queries.device)
    return np.ascontiguousarray(torch.cat([queries, ones], dim=1).cpu().numpy())
