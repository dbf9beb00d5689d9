"""Item features, gathered by id on the device where they are used, never copied per token."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding

MAX_ARRAY_LENGTH = 16  # values of a list feature; the rest is cut off
SMALLEST_LENGTH = 1e-12  # a vector of zeros stays one
DEVICE_SHARE = 0.3  # of a GPU's free memory that modality vectors may take


class ItemFeatureStore:
    """Columns of all items, by id.

    On a CPU the columns are the memory-mapped files themselves: several processes share their
    pages. On a GPU they are copied there once; modality vectors follow where they fit into a
    share of its free memory and are gathered on the host where they do not.
    """

    def __init__(
        self,
        interactions: Interactions,
        statistics: ItemStatistics,
        embeddings: Mapping[str, ModalityEmbedding],
        device: torch.device,
    ) -> None:
        """Open the columns.

        Args:
            interactions: gives the features of the items.
            statistics: gives their life cycle.
            embeddings: the modalities.
            device: where features are wanted.
        """
        self.device = device
        self.num_items = interactions.num_items
        table = interactions.items
        self._scalar_names = list(table.scalars)
        self.scalar_codes = self._place(table.scalars.matrix)
        self._arrays = {
            name: (self._place(column.offsets), self._place(column.values))
            for name, column in table.arrays.items()
        }
        self.life_cycle = self._place(statistics.life_cycle)
        self._rows = {name: self._place(one.row_of) for name, one in embeddings.items()}
        self._matrices = {name: self._place_matrix(one) for name, one in embeddings.items()}

    def gather(self, item_ids: Tensor) -> "ItemFeatures":
        """The features of some items, each read when it is asked for.

        Args:
            item_ids: (N,) int64, 0 for padding.
        """
        return ItemFeatures(self, item_ids.to(self.device))

    def scalars(self, item_ids: Tensor) -> dict[str, Tensor]:
        """(N,) int64 codes of each scalar feature, all read at once."""
        found = self.scalar_codes.index_select(0, item_ids).t()
        columns = found.to(torch.int64, memory_format=torch.contiguous_format)
        return dict(zip(self._scalar_names, columns, strict=True))

    def array(self, name: str, item_ids: Tensor) -> Tensor:
        """(N, MAX_ARRAY_LENGTH) int64 codes of a list feature, truncated or padded with 0."""
        offsets, values = self._arrays[name]
        begins = offsets[item_ids]
        column = torch.arange(MAX_ARRAY_LENGTH, device=self.device)
        inside = column < (offsets[item_ids + 1] - begins)[:, None]
        dense = torch.zeros(inside.shape, dtype=torch.int64, device=self.device)
        dense[inside] = values[(begins[:, None] + column)[inside]].long()
        return dense

    def vectors(self, modality: str, item_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of one modality.

        Returns:
            (N, width) float32 of length 1, zeros where missing; (N,) bool whether present.
        """
        rows = self._rows[modality].index_select(0, item_ids)
        present = rows >= 0
        matrix = self._matrices[modality]
        places = rows.clamp(min=0).to(matrix.device)
        found = matrix.index_select(0, places).to(self.device).float()
        lengths = torch.linalg.vector_norm(found, dim=-1, keepdim=True)
        lengths.clamp_min_(SMALLEST_LENGTH).masked_fill_(~present[:, None], float("inf"))
        # In place: a full catalogue of wide vectors is more memory than a step's activations.
        return found.div_(lengths), present

    def _place(self, column: np.ndarray) -> Tensor:
        return _view(column).to(self.device)

    def _place_matrix(self, embedding: ModalityEmbedding) -> Tensor:
        matrix = _view(embedding.matrix)
        if self.device.type != "cuda":
            return matrix
        free, _ = torch.cuda.mem_get_info(self.device)
        return matrix.to(self.device) if embedding.matrix.nbytes < DEVICE_SHARE * free else matrix


@dataclass(frozen=True)
class ItemFeatures:
    """The features of N items; nothing is read before it is asked for.

    Attributes:
        store: where they are looked up.
        ids: (N,) int64 on the store's device.
    """

    store: ItemFeatureStore
    ids: Tensor

    def scalar(self, name: str) -> Tensor:
        """(N,) int64 codes, 0 for missing."""
        return self._scalars[name]

    def array(self, name: str) -> Tensor:
        """(N, MAX_ARRAY_LENGTH) int64 codes, padded with 0."""
        return self.store.array(name, self.ids)

    def life_cycle(self) -> Tensor:
        """(N, 6) int64 codes, see ``ItemStatistics``."""
        return self.store.life_cycle.index_select(0, self.ids).long()

    @cached_property
    def _scalars(self) -> dict[str, Tensor]:
        return self.store.scalars(self.ids)

    def vectors(self, modality: str) -> tuple[Tensor, Tensor]:
        """(N, width) float32 unit vectors and (N,) bool whether there is one."""
        return self.store.vectors(modality, self.ids)


def _view(column: np.ndarray) -> Tensor:
    """A tensor over the same pages; it is only ever read."""
    with warnings.catch_warnings():  # about a read-only map; nothing writes to it
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.asarray(column))
