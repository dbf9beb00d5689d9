"""Embedding-only search: exact against faiss flat, IVF and HNSW, at several catalogue sizes.

    python -m tests.benchmarks.bench_search --items 660000 --dim 64 --threads 1

Prints users per second, recall of the true ten, and the time to build. Vectors are clustered like
trained item vectors: 4,096 centres with noise around them; queries are noisy items.
"""

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
import torch
from torch.nn import functional as F

from model.inference.approximate_search import IndexSearch
from model.inference.filters import Seen
from model.inference.index_building import build_index
from model.inference.search import ExactSearch

NUM_CENTRES, QUERIES = 4096, 512


def clustered_vectors(num_items: int, dim: int, seed: int = 0) -> torch.Tensor:
    """(num_items, dim) float32 unit vectors around common centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(NUM_CENTRES, dim, generator=generator)
    chosen = torch.randint(NUM_CENTRES, (num_items,), generator=generator)
    noise = torch.randn(num_items, dim, generator=generator)
    return F.normalize(centres[chosen] + 0.7 * noise, dim=-1)


def seconds(call: Callable[[], object], at_least: float = 1.0) -> float:
    """Seconds per call, over as many calls as fill ``at_least`` seconds, after one to warm up."""
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < at_least:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=660_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hnsw", action="store_true", help="build the graph too (minutes)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)

    vectors = clustered_vectors(given.items, given.dim)
    generator = torch.Generator().manual_seed(1)
    noise = 0.7 * torch.randn(QUERIES, given.dim, generator=generator)
    queries = F.normalize(
        vectors[torch.arange(QUERIES) % given.items] + noise / given.dim**0.5, dim=-1
    )
    exact = ExactSearch(vectors, torch.zeros(given.items))
    nothing = torch.zeros(0, dtype=torch.long)
    seen = Seen(nothing, nothing, given.items)
    print(
        f"{given.items:,} items x {given.dim}, {given.threads} thread(s), {QUERIES} users at once"
    )

    def report(name: str, took: float, extra: str = "") -> None:
        print(f"{name:24s} {QUERIES / took:10,.0f} users/s {extra}")

    for k in (10, 384):
        report(f"exact, top {k}", seconds(lambda k=k: exact.search(queries, k, seen)))
    flat = faiss.IndexFlatIP(given.dim)
    flat.add(vectors.numpy())
    for k in (10, 384):
        report(f"faiss flat, top {k}", seconds(lambda k=k: flat.search(queries.numpy(), k)))
    item_ids = np.arange(1, given.items + 1, dtype=np.int32)
    for kind in ("ivf", "hnsw") if given.hnsw else ("ivf",):
        start = time.perf_counter()
        index = build_index(exact, item_ids, kind, queries, seed=0)
        build = time.perf_counter() - start
        search = IndexSearch(index, exact)
        for k in (10, 384):
            facts = f"recall@10 {index.facts['recall@10']:.3f}, built in {build:.0f} s"
            report(
                f"{kind}, top {k}", seconds(lambda k=k, s=search: s.search(queries, k, seen)), facts
            )


if __name__ == "__main__":
    main()
