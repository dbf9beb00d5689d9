"""Two worlds of 30,000 items for the tests here: 10,000 users, and as many as TencentGR-10M has."""

import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset.synthesizer import write_synthetic_world
from model.params import SyntheticWorldParams

SEED = 11
PARAMS = SyntheticWorldParams(
    num_users=10_000,
    num_items=30_000,
    num_candidates=6000,
    cold_candidate_share=0.226,
    num_clusters=256,
    modality_widths={"81": 32, "84": 48, "86": 40},
    modality_coverage={"81": 0.874, "84": 0.5, "86": 0.375},
    users_per_shard=4000,
)


@dataclass(frozen=True)
class World:
    """A written world and its files, read plainly.

    ``users``, ``positions`` (1 = newest), ``items``, ``actions`` and ``times`` are flat, one entry
    per event.
    """

    root: Path
    params: SyntheticWorldParams

    def table(self, name: str) -> pa.Table:
        return pq.read_table(self.root / name)

    @cached_property
    def indexer(self) -> dict:
        return pickle.loads((self.root / "indexer.pkl").read_bytes())  # this world's own

    @cached_property
    def _sequences(self) -> pa.ListArray:
        return self.table("seq")["seq"].combine_chunks()

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self._sequences.offsets.to_numpy())

    @cached_property
    def users(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def positions(self) -> np.ndarray:
        return np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(self.lengths.sum())

    def _field(self, name: str) -> np.ndarray:
        return self._sequences.flatten().field(name).to_numpy()

    @cached_property
    def items(self) -> np.ndarray:
        return self._field("item_id")

    @cached_property
    def actions(self) -> np.ndarray:
        return self._field("action_type")

    @cached_property
    def times(self) -> np.ndarray:
        return self._field("timestamp")

    @cached_property
    def counts(self) -> np.ndarray:
        """(num_items,) events of each item."""
        return np.bincount(self.items, minlength=self.params.num_items + 1)[1:]

    @cached_property
    def candidate_re_ids(self) -> np.ndarray:
        """Re-ids of the candidates, 0 for the cold ones."""
        known = self.indexer["i"]
        raw = self.table("candidate")["item_id"].to_pylist()
        return np.array([known.get(one, 0) for one in raw])


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    root = tmp_path_factory.mktemp("synthetic")
    write_synthetic_world(PARAMS, SEED, root)
    return World(root, PARAMS)


@pytest.fixture(scope="session")
def lively_world(tmp_path_factory) -> World:
    """About as many users per item as TencentGR-10M has (0.58)."""
    changed = {"num_users": 17_500, "modality_widths": {"81": 2}, "modality_coverage": {"81": 0.5}}
    params = PARAMS.model_copy(update=changed)
    root = tmp_path_factory.mktemp("lively")
    write_synthetic_world(params, SEED, root)
    return World(root, params)
