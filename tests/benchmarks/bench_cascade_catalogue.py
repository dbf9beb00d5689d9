"""What the cascade costs per user against the size of the catalogue, beside embedding search.

``python -m tests.benchmarks.bench_cascade_catalogue [--threads 1] [--out cascade.png]`` measures
everything after the encoder: beams (20), 384 semantic IDs of 2 x 4,096 codes, their items' cosines,
history filter, ranking and back-fill; with two decoders of random weights and histories of 100
events. Beside it stand exact search and, up to the size that ``--ivf`` names, inverted lists that
find 95 % of the true ten, over the same 64-wide vectors on the same cores. An index of
3.64 million takes minutes to build, and 2 GB beside the vectors meanwhile.

All take turns; the best turn of each counts. Prints milliseconds of processor time per user for
every size, the ratio of exact search to each, the recall of the inverted lists, and where the lines
cross; writes a plot.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from model.inference.approximate_search import IndexSearch
from model.inference.cascade import rank
from model.inference.catalogue import Catalogue
from model.inference.index_building import build_index
from model.inference.recommender import Recommender
from model.inference.search import ExactSearch
from model.inference.trie import Trie, build_trie
from model.network.decoder import SidDecoder
from model.params import CascadeParams
from tests.benchmarks.bench_beam import LENGTH, make_decoder
from tests.benchmarks.bench_search import clustered_vectors

SIZE, DIM = 4096, 64
SIZES = (10_000, 100_000, 660_000, 3_640_000)
DECODERS = {"cascade, 8 layers x 256": (256, 8), "cascade, 1 layer x 64": (64, 1)}
EXACT, IVF = "exact search", "inverted lists"


@dataclass(frozen=True)
class World:
    """One catalogue and the users who are answered from it."""

    catalogue: Catalogue
    trie: Trie
    interactions: Any
    queries: Tensor
    search: ExactSearch


def make_world(num_items: int, num_users: int) -> World:
    """Clustered vectors, random semantic IDs, random histories."""
    generator = np.random.default_rng(0)
    vectors = clustered_vectors(num_items, DIM)
    codes = generator.integers(1, SIZE + 1, (num_items + 1, 2))
    noise = 0.7 * torch.randn(num_users, DIM, generator=torch.Generator().manual_seed(1))
    chosen = torch.from_numpy(generator.integers(0, num_items, num_users))
    catalogue = Catalogue(
        item_ids=np.arange(1, num_items + 1, dtype=np.int32),
        rows=np.arange(-1, num_items),
        vectors=vectors,
        log_q=torch.zeros(num_items),
        counts=np.ones(num_items, np.int64),
        groups=torch.zeros(num_items, dtype=torch.long),
        sids=torch.from_numpy(codes[1:]),
    )
    interactions = SimpleNamespace(
        offsets=np.arange(num_users + 1) * (LENGTH - 1),
        item_ids=generator.integers(1, num_items + 1, num_users * (LENGTH - 1)).astype(np.int32),
        action_types=np.ones(num_users * (LENGTH - 1), np.int8),
    )
    queries = F.normalize(vectors[chosen] + noise / DIM**0.5, dim=-1)
    search = ExactSearch(vectors, torch.zeros(num_items))
    return World(
        catalogue,
        build_trie(codes[1:], priority=np.zeros(num_items)),
        interactions,
        queries,
        search,
    )


def make_recommender(world: World, decoder: SidDecoder, hidden: Tensor) -> Recommender:
    """A recommender whose encoder has already answered."""
    offsets = torch.arange(len(hidden) + 1) * LENGTH
    start = partial(decoder.start, hidden.flatten(0, 1), offsets, None)
    nothing: Any = None
    network: Any = SimpleNamespace(decoder=decoder, start_decoding=lambda encoded: start())
    params = CascadeParams(
        beam_width=20,
        num_sids=384,
        filter_history=[0, 1, 2],
        filter_cold=True,
        logq_weight=0.0,
        beam_weight=0.01,
        max_per_group=0,
        group_feature="",
        default_action="click",
        batch_size=len(hidden),
        search="exact",
        blocked_items=(),
    )
    return Recommender(
        network=network,
        dataset=nothing,
        interactions=world.interactions,
        blocked=np.zeros(0, np.int64),
        catalogue=world.catalogue,
        trie=world.trie,
        search=world.search,
        params=params,
        device=torch.device("cpu"),
    )


def answer(recommender: Recommender, queries: Tensor) -> None:
    """Everything after the encoder, for one batch."""
    nothing: Any = None
    users = np.arange(len(queries))
    proposals = recommender.propose_encoded("submission", users, nothing, queries)
    rank(recommender, proposals, beam_weight=0.01)


def milliseconds(ways: dict[str, Callable[[], object]], num_users: int, turns: int) -> dict:
    """Processor time per user of ways that take turns, the best turn of each."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if turn:  # the first one compiles and warms up
                spent[name].append(1000 * (time.process_time() - started) / num_users)
    return {name: min(times) for name, times in spent.items()}


def measure(
    num_items: int, num_users: int, turns: int, *, with_ivf: bool
) -> tuple[dict[str, float], float | None]:
    """Milliseconds per user of every way at one size, and the inverted lists' recall@10."""
    world = make_world(num_items, num_users)
    ways: dict[str, Callable[[], object]] = {}
    for name, (dim, layers) in DECODERS.items():
        torch.manual_seed(0)
        decoder = make_decoder(SIZE, dim, layers)
        recommender = make_recommender(world, decoder, torch.randn(num_users, LENGTH, dim))
        ways[name] = partial(answer, recommender, world.queries)
    seen = recommender.seen("submission", np.arange(num_users))
    ways[EXACT] = partial(world.search.search, world.queries, 10, seen)
    recall = None
    if with_ivf:
        item_ids = world.catalogue.item_ids
        index = build_index(world.search, item_ids, "ivf", world.queries, seed=0)
        recall = index.facts["recall@10"]
        ways[IVF] = partial(IndexSearch(index, world.search).search, world.queries, 10, seen)
    return milliseconds(ways, num_users, turns), recall


def row(size: int, name: str, costs: dict[str, float], recall: float | None) -> str:
    """One way at one size, as it is printed."""
    ratio = f"{costs[EXACT] / costs[name]:8.1f} x below exact search" if name != EXACT else ""
    found = f", recall@10 {recall:.3f}" if name == IVF else ""
    return f"{size:>10,} items  {name:24s} {costs[name]:8.3f} ms {ratio}{found}"


def crossing(sizes: list[int], ours: list[float], theirs: list[float]) -> str:
    """The size from which on ``theirs`` costs more, by straight lines in log-log."""
    lead = np.log(np.array(theirs) / np.array(ours))
    if (lead > 0).all():
        return "at every size measured"
    if lead[-1] <= 0:
        return "at none of the largest sizes measured"
    last = int(np.flatnonzero(lead <= 0)[-1])
    share = -lead[last] / (lead[last + 1] - lead[last])
    where = np.log(sizes[last]) + share * np.log(sizes[last + 1] / sizes[last])
    return f"at about {np.exp(where):,.0f} items"


def plot(sizes: list[int], table: dict[str, list[float]], file: Path) -> None:
    """Cost per user over the size of the catalogue."""
    figure = Figure(figsize=(6.5, 4.2))
    axes = figure.subplots()
    for name, costs in table.items():
        style = "o-" if name.startswith("cascade") else "s--"
        axes.loglog(sizes[: len(costs)], costs, style)
    axes.legend(list(table), frameon=False)
    axes.set_xlabel("items in the catalogue")
    axes.set_ylabel("ms per user (processor time)")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Print the table and the crossings, and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ivf", type=int, default=max(SIZES), help="largest size with an index")
    parser.add_argument("--out", type=Path, default=Path("cascade_catalogue.png"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    table: dict[str, list[float]] = {}
    for size in given.sizes:
        with torch.inference_mode():
            costs, recall = measure(size, given.users, given.turns, with_ivf=size <= given.ivf)
        for name, cost in costs.items():
            table.setdefault(name, []).append(cost)
            print(row(size, name, costs, recall), flush=True)
    for name in DECODERS:
        growth = table[name][-1] / table[name][0]
        where = crossing(given.sizes, table[name], table[EXACT])
        print(
            f"{name}: {growth:.2f} x from {given.sizes[0]:,} to {given.sizes[-1]:,} items; ", end=""
        )
        print(f"cheaper than exact search {where}")
    plot(given.sizes, table, given.out)
    print(f"plot: {given.out}")


if __name__ == "__main__":
    main()
