"""A tiny world with everything that a network needs, and networks for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics, compute_item_statistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.schema import FeatureSchema, describe_features
from model.dataset.sequences import Batch, SequenceDataset
from model.network.onepiece import OnePiece
from model.params import ItemStatisticsParams, NetworkParams, Params
from tests.orchestration.tiny_world import tiny_params
from tests.tiny import write_tiny_world

MODALITIES = ("81", "82")
SIZES = (8, 8)
CPU = torch.device("cpu")


def network_params(**changes: Any) -> NetworkParams:
    """The tiny network; ``features`` and ``feed_forward`` are updated, not replaced.

    Its layers do something from the start, so that a fresh network shows what they do.
    """
    values = tiny_params()["network"]
    values |= {"dropout": 0.0, "input_dropout": 0.0, "zero_init_residual": False}
    for name in ("features", "feed_forward"):
        values[name] |= changes.pop(name, {})
    return NetworkParams.model_validate(values | changes)


@dataclass(frozen=True)
class SmallData:
    """Store, statistics, vectors and semantic IDs of the tiny world."""

    interactions: Interactions
    statistics: ItemStatistics
    embeddings: dict[str, ModalityEmbedding]

    @property
    def features(self) -> ItemFeatureStore:
        return ItemFeatureStore(self.interactions, self.statistics, self.embeddings, CPU)

    @property
    def codes(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        codes = rng.integers(1, 9, (self.interactions.num_items + 1, 2)).astype(np.int32)
        codes[[0, 5]] = 0  # padding, and an item without a semantic ID
        return codes

    def schema(self, sid_sizes: tuple[int, ...] = SIZES) -> FeatureSchema:
        return describe_features(self.interactions, self.statistics, self.embeddings, sid_sizes)

    def dataset(self, params: NetworkParams) -> SequenceDataset:
        return SequenceDataset(
            self.interactions, self.statistics, self.features, params.model_dump()
        )

    def network(self, params: NetworkParams, *, seed: int = 0) -> OnePiece:
        """Fresh weights; biases too, which start at zero, so that they are tested as well."""
        torch.manual_seed(seed)
        network = OnePiece(self.schema(), params)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if ".bias." in name or name.endswith("bias"):
                    parameter.normal_(std=0.3)
        return network

    def training_batch(self, params: NetworkParams) -> Batch:
        dataset = self.dataset(params)
        return dataset.assemble(dataset.training_windows(dataset.training_users()))


def small_data(folder: Path) -> SmallData:
    """Write the tiny world and read it."""
    world = write_tiny_world(folder)
    interactions = world.interactions()
    return SmallData(
        interactions,
        compute_item_statistics(
            interactions, ItemStatisticsParams(num_time_buckets=16, memory_limit_gib=1.0)
        ),
        {name: world.modality_embedding(name, folder / name) for name in MODALITIES},
    )


def pipeline_params(**changes: dict[str, Any]) -> Params:
    """All parameters of a tiny pipeline."""
    return Params.model_validate(tiny_params(**changes))


def forbid_to_open(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the system refuse every file of this name; root would be allowed everything."""

    def opened(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *args, **options)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", opened)
