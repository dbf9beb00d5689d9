"""Training batches from the store: gathered by index against one event at a time.

``python -m tests.benchmarks.bench_loader --params params.yaml --data DIR`` reads the artefacts in
DIR and assembles batches of training rows on one core, item features included. The reference makes
the same tensors with a dictionary of features per event, as the competition's baseline does. Prints
samples per CPU-second of both and their ratio, the ratio to what the published baseline reached on
a core of the same kind (20,000 users of about 90 events), and the time and memory of opening the
store.
"""

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.sequences import Batch, SequenceDataset
from model.params import Params

CPU = torch.device("cpu")
BASELINE = 1 / (1 / 225 + 1 / 620)  # samples per CPU-second: data set and collate, then tensors


def looked_up(batch: Batch, dataset: SequenceDataset, modalities: list[str]) -> list[torch.Tensor]:
    """Every item feature of a batch as a tensor."""
    features = dataset.features
    found = [batch.items.scalar(name) for name in features.scalars]
    found += [batch.items.array(name) for name in dataset.interactions.items.arrays]
    found.append(batch.items.life_cycle())
    return found + [batch.items.vectors(name)[0] for name in modalities]


def event_by_event(
    dataset: SequenceDataset, users: np.ndarray, embeddings: dict[str, ModalityEmbedding]
) -> dict[str, torch.Tensor]:
    """The reference: a dictionary per event, filled and stacked in Python."""
    interactions, statistics = dataset.interactions, dataset.statistics
    windows = dataset.training_windows(users)
    events: list[dict[str, Any]] = []
    for begin, end in zip(windows.begins.tolist(), windows.ends.tolist(), strict=True):
        for event in range(begin, end):
            item, when = int(interactions.item_ids[event]), int(interactions.timestamps[event])
            at = np.array([when])
            made: dict[str, Any] = {
                "item": item,
                "action": int(interactions.action_types[event]),
                "hour": when % 86_400 // 3_600,
                "bucket": int(statistics.time_bucket(at)[0]),
                "popularity": int(statistics.popularity_codes(np.array([item]), at)[0]),
            }
            for name, column in interactions.items.scalars.items():
                made[name] = int(column[item])
            for name, embedding in embeddings.items():
                row = int(embedding.row_of[item])
                made[f"vector {name}"] = (
                    np.asarray(embedding.matrix[row], np.float32)
                    if row >= 0
                    else np.zeros(embedding.width, np.float32)
                )
            events.append(made)
    return {name: torch.from_numpy(np.array([e[name] for e in events])) for name in events[0]}


def rate(call: Any, batches: list[np.ndarray]) -> float:
    """Samples per CPU-second."""
    started = time.process_time()
    for users in batches:
        call(users)
    return sum(map(len, batches)) / (time.process_time() - started)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    params = Params.load(given.params)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    interactions = Interactions.load(given.data / "interactions")
    seconds = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"opening {interactions.num_users:,} users: {seconds * 1000:.1f} ms, {grown:.0f} MiB")
    statistics = ItemStatistics.load(given.data / "item_statistics")
    names = params.network.features.modalities
    folder = given.data / "modality_embeddings"
    embeddings = {name: ModalityEmbedding.load(folder / name) for name in names}
    store = ItemFeatureStore(interactions, statistics, embeddings, CPU)
    dataset = SequenceDataset(interactions, statistics, store, params.network.model_dump())
    users = np.random.default_rng(0).permutation(dataset.training_users())
    batches = [users[first : first + given.batch] for first in range(0, len(users), given.batch)]

    def assemble(chosen: np.ndarray) -> None:
        looked_up(dataset.assemble(dataset.training_windows(chosen)), dataset, names)

    assemble(batches[0])
    ours = rate(assemble, batches[:80])
    theirs = rate(lambda chosen: event_by_event(dataset, chosen, embeddings), batches[:2])
    print(f"event by event: {theirs:,.0f} samples per CPU-second; by index: {ours:,.0f}")
    print(f"ratio {ours / theirs:.0f}; to the published baseline {ours / BASELINE:.0f}")


if __name__ == "__main__":
    main()
