"""Training batches from the store against a loader that keeps a dictionary per event.

    python -m tests.benchmarks.bench_loader --params params.yaml --data DIR

reads the artefacts in DIR (made by ``onepiece materialize coverage_report``), and for the reference
the raw release that they were made of, which must be in TencentGR's parquet layout (a synthetic
world is). Both make batches of the same users on one core, every feature as a tensor included; the
reference, :mod:`.event_loader`, is a stand-in for the competition's own loader. Rounds take turns
and the fastest counts.

Prints what opening takes, samples per CPU-second, and the ratio.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.raw_data import RawData
from model.dataset.sequences import SequenceDataset
from model.params import Params
from model.training.memory import keep_freed_memory
from tests.benchmarks.event_loader import EventLoader

Loader = TypeVar("Loader")
CPU = torch.device("cpu")
BATCHES, BATCHES_BY_EVENT = 40, 2  # of a round: ours alone would be over within a moment


class StoreLoader:
    """Batches from the artefacts, as training makes them."""

    def __init__(self, data: Path, params: Params) -> None:
        self.names = params.network.features.modalities
        self.interactions = Interactions.load(data / "interactions")
        statistics = ItemStatistics.load(data / "item_statistics")
        folder = data / "modality_embeddings"
        embeddings = {name: ModalityEmbedding.load(folder / name) for name in self.names}
        self.widths = {name: one.width for name, one in embeddings.items()}
        store = ItemFeatureStore(self.interactions, statistics, embeddings, CPU)
        given = params.network.model_dump()
        self.dataset = SequenceDataset(self.interactions, statistics, store, given)

    def batch(self, users: np.ndarray) -> list[torch.Tensor]:
        """Every item feature of a batch of training rows as a tensor."""
        made = self.dataset.assemble(self.dataset.training_windows(users))
        found = [made.items.scalar(name) for name in self.interactions.items.scalars]
        found += [made.items.array(name) for name in self.interactions.items.arrays]
        found.append(made.items.life_cycle())
        return found + [made.items.vectors(name)[0] for name in self.names]


def opened(name: str, make: Callable[[], Loader]) -> Loader:
    """Open a loader; prints time and growth of memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    loader = make()
    seconds = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{name}: opened in {seconds:.3f} CPU-seconds, {grown:.0f} MiB")
    return loader


def cost(call: Callable[[np.ndarray], object], batches: list[np.ndarray]) -> float:
    """CPU-seconds per sample."""
    started = time.process_time()
    for users in batches:
        call(users)
    return (time.process_time() - started) / sum(map(len, batches))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    params = Params.load(given.params)
    ours = opened("store", lambda: StoreLoader(given.data, params))
    raw = RawData.load(given.data / "raw_data")
    length = params.network.max_length
    theirs = opened("by event", lambda: EventLoader(raw.root, ours.widths, length))
    ids = list(theirs.histories)  # in the order of the store's users
    random = np.random.default_rng(0)
    users = random.permutation(ours.dataset.training_users())
    batches = [users[first : first + given.batch] for first in range(0, len(users), given.batch)]
    ours.batch(batches[0])  # compiles

    def by_event(chosen: np.ndarray) -> object:
        samples = [theirs.sample(ids[user], random) for user in chosen]
        return theirs.tensors(theirs.collate(samples))

    rounds = [
        (cost(by_event, batches[:BATCHES_BY_EVENT]), cost(ours.batch, batches[:BATCHES]))
        for _ in range(given.rounds)
    ]
    slow, fast = (1 / min(costs) for costs in zip(*rounds, strict=True))
    print(
        f"by event {slow:,.0f} samples per CPU-second, store {fast:,.0f}; ratio {fast / slow:.0f}"
    )


if __name__ == "__main__":
    main()
