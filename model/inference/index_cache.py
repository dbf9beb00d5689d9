"""The search that ``cascade.search`` names, with indexes that are built once and kept."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from model.errors import InputError
from model.inference.approximate_search import IndexSearch, on_gpu
from model.inference.index_building import Kind, build_index
from model.inference.recommender import Recommender
from model.inference.search import ExactSearch
from model.inference.search_index import SearchIndex
from model.inference.shards import fingerprint
from model.partial_folders import remove_partial_folders
from model.sources import hash_sources

SEARCH_INDEX = "search_index"  # folder of the indexes beside the artefacts
SEED = 0
KEPT = 2  # most recently used indexes of a folder: the champion's and the challenger's
SAMPLE_USERS = 1000  # whose vectors choose the probes and measure the recall
_BUILDERS = ("inference/index_building.py", "inference/search_index.py")


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


def _open_or_build(
    exact: ExactSearch, item_ids: np.ndarray, kind: Kind, queries: Tensor, folder: Path | None
) -> SearchIndex:
    """Open the cached index of these inputs and this code; build it if missing or damaged."""
    if folder is None:
        return build_index(exact, item_ids, kind, queries, seed=SEED)
    arrays = (x.cpu().numpy() for x in (exact.vectors, exact.bias, queries))
    builder = (hash_sources(*_BUILDERS), faiss.__version__)
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
    remove_partial_folders(folder, "*")  # of all indexes, left by dead writers
    finished = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for other in sorted(finished, key=_last_used)[:-KEPT]:
        shutil.rmtree(other, ignore_errors=True)


def _last_used(path: Path) -> float:
    """When a folder was last used; 0 where another process has just removed it."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
