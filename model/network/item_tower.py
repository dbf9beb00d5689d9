"""ItemDNN: all features of an item, in one linear layer.

The same output serves both paths of the paper (section 3.2): after a ReLU it is a part of the
sequence's input, and without one, L2-normalised, it is target and candidate. It does not depend on
the position in the sequence, so that it is computed once per distinct item of a batch.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.dataset.item_features import ItemFeatures
from model.dataset.item_statistics import LAST_YEAR_CODE
from model.dataset.schema import FeatureSchema
from model.errors import InputError
from model.network.initialization import initialize
from model.network.tables import INITIAL_SPREAD, embedding_table, feature_key, feature_tables

if TYPE_CHECKING:
    from model.params import FeatureParams

LIFE_CYCLE_CODES = (LAST_YEAR_CODE, 12, 31, LAST_YEAR_CODE, 12, 31)


class ItemTower(nn.Module):
    """Tables and projections of all item features that are switched on."""

    def __init__(self, schema: FeatureSchema, params: "FeatureParams", dim: int) -> None:
        """Build the features that are switched on.

        Args:
            schema: of the data.
            params: section ``network.features``.
            dim: of the vectors that come out.

        Raises:
            InputError: none of them is in this data.
        """
        super().__init__()
        width = params.feature_dim
        scalars = schema.item_scalars if params.item_features else {}
        arrays = schema.item_arrays if params.item_features else {}
        has_content = bool(scalars or arrays or params.life_cycle or params.modalities)
        self.item_id_dropout = params.item_id_dropout
        self.hash_sizes = list(params.hash_sizes)
        told_apart = has_content or bool(self.hash_sizes)  # even before anything is learned
        self.item_ids = (
            embedding_table(schema.num_items, params.item_id_dim, zero=told_apart)
            if params.item_id_dim
            else None
        )
        self.hashes = nn.ModuleList(
            embedding_table(size, params.hash_dim) for size in self.hash_sizes
        )
        self.names = {"scalars": list(scalars), "arrays": list(arrays)}
        self.scalars = feature_tables(scalars, width)
        self.arrays = feature_tables(arrays, width)
        self.life_cycle = nn.ModuleList(
            embedding_table(n, width) for n in (LIFE_CYCLE_CODES if params.life_cycle else ())
        )
        self.modality_names = list(params.modalities)
        self.modalities = nn.ModuleList(
            ModalityProjection(schema.modality_widths[name], width) for name in self.modality_names
        )
        blocks = len(scalars) + len(arrays) + len(self.life_cycle) + len(self.modalities)
        inputs = blocks * width + params.item_id_dim + len(self.hash_sizes) * params.hash_dim
        if not inputs:
            raise InputError(
                "network.features: no enabled feature is in this data; set item_id_dim, "
                "hash_sizes or modalities"
            )
        self.projection = nn.Linear(inputs, dim)
        initialize(self.projection)
        if not has_content:  # else an item without its ids is zero, with no cosine to learn from
            nn.init.normal_(self.projection.bias, std=INITIAL_SPREAD)

    def forward(self, items: ItemFeatures) -> Tensor:
        """Embed N items: (N, dim)."""
        parts = self._id_vectors(items.ids)
        parts += [self.scalars[feature_key(n)](items.scalar(n)) for n in self.names["scalars"]]
        parts += [
            self.arrays[feature_key(n)](items.array(n)).sum(dim=1) for n in self.names["arrays"]
        ]
        if len(self.life_cycle):
            codes = items.life_cycle()
            parts += [table(codes[:, place]) for place, table in enumerate(self.life_cycle)]
        for name, projection in zip(self.modality_names, self.modalities, strict=True):
            parts.append(projection(*items.vectors(name)))
        return self.projection(torch.cat(parts, dim=1))

    def _id_vectors(self, ids: Tensor) -> list[Tensor]:
        """Embeddings of an item's ids, (N, width) each; in training all are dropped or none.

        An item whose ids are dropped, as input, target and negative of a batch alike, has to be
        recognised by its content: so the ids learn nothing in place of the content.
        """
        parts = [] if self.item_ids is None else [self.item_ids(ids)]
        for size, table in zip(self.hash_sizes, self.hashes, strict=True):
            parts.append(table(torch.where(ids > 0, ids % size + 1, 0)))
        if not (self.training and self.item_id_dropout and parts):
            return parts
        kept = F.dropout(parts[0].new_ones(len(ids), 1), self.item_id_dropout)
        return [part * kept for part in parts]


class ModalityProjection(nn.Module):
    """A modality's vector projected to the feature width; a learned one where it is missing."""

    def __init__(self, vector_width: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(vector_width, width)
        self.missing = nn.Parameter(torch.randn(width) * INITIAL_SPREAD)

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """(N, vector_width) and (N,) bool -> (N, width)."""
        return torch.where(present[:, None], self.linear(vectors), self.missing)
