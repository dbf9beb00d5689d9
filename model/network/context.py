"""A token's features besides its item: user, action, time, and the action asked for next."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.dataset.packing import HOURS, LONGEST_GAP_DAYS, WEEKDAYS
from model.dataset.schema import FeatureSchema
from model.dataset.sequences import ACTION_CODES, NEXT_ACTION_CODES, POPULARITY_CODES, Batch
from model.network.initialization import initialize
from model.network.tables import (
    INITIAL_SPREAD,
    embedding_table,
    feature_key,
    feature_tables,
)

if TYPE_CHECKING:
    from model.params import FeatureParams

GAP_CODES = (LONGEST_GAP_DAYS + 1, 24, 60)


class ContextTower(nn.Module):
    """Context features of the sequence side; targets and candidates have none.

    Absolute time buckets and popularity are dropped per token with ``context_dropout`` in
    training, so that no position can rely on them alone (reference: 2.2).
    """

    def __init__(self, schema: FeatureSchema, params: "FeatureParams", dim: int) -> None:
        super().__init__()
        width = params.feature_dim
        self.dropout = params.context_dropout
        # The mask gives an exposure asked for next the code that adds nothing (reference: 2.5).
        self.exposure_code = 0 if params.exposure_mask else 1
        tables: dict[str, nn.Embedding] = {}
        if params.action:
            tables["action"] = embedding_table(ACTION_CODES, width)
        if params.next_action:
            tables["next_action"] = embedding_table(NEXT_ACTION_CODES + self.exposure_code, width)
        if params.relative_time:
            tables |= {f"gap{n}": embedding_table(size, width) for n, size in enumerate(GAP_CODES)}
        if params.absolute_time:
            sizes = (HOURS, WEEKDAYS, schema.num_time_buckets)
            tables |= {f"calendar{n}": embedding_table(size, width) for n, size in enumerate(sizes)}
        if params.popularity:
            tables["popularity"] = embedding_table(POPULARITY_CODES, width)
        self.tables = nn.ModuleDict(tables)
        self.projection = nn.Linear(len(tables) * width, dim, bias=False) if tables else None
        if self.projection is not None:
            initialize(self.projection)

    def forward(self, batch: Batch) -> Tensor | None:
        """(T, dim), or None where every context feature is switched off."""
        if self.projection is None:
            return None
        codes = {
            "action": batch.actions,
            "next_action": batch.next_actions + self.exposure_code,
            **{f"gap{n}": batch.gaps[:, n] for n in range(len(GAP_CODES))},
            "calendar0": batch.calendar[:, 0],
            "calendar1": batch.calendar[:, 1],
            "calendar2": self._thinned(batch.calendar[:, 2]),
            "popularity": self._thinned(batch.popularity),
        }
        parts = [table(codes[name]) for name, table in self.tables.items()]
        return self.projection(torch.cat(parts, dim=1))

    def _thinned(self, codes: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return codes
        return codes * (torch.rand(codes.shape, device=codes.device) >= self.dropout)


class UserTower(nn.Module):
    """UserDNN: a user's features in one linear layer followed by a ReLU; (B, dim)."""

    def __init__(self, schema: FeatureSchema, params: "FeatureParams", dim: int) -> None:
        super().__init__()
        width = params.feature_dim
        sizes = {**schema.user_scalars, **schema.user_arrays} if params.user_features else {}
        self.names = list(sizes)
        self.tables = feature_tables(sizes, width)
        self.projection = nn.Linear(len(sizes) * width, dim) if sizes else None
        self.start = nn.Parameter(torch.zeros(dim))
        if self.projection is not None:
            initialize(self.projection)
        else:  # zeros have no direction: the gradient of their cosine would drown all others
            nn.init.normal_(self.start, std=INITIAL_SPREAD)

    def forward(self, batch: Batch) -> Tensor:
        """(B, dim) of the users of a batch; without features, one learned vector for all."""
        if self.projection is None:
            return self.start.expand(batch.num_rows, -1)
        parts = []
        for name in self.names:
            found = self.tables[feature_key(name)](batch.user_codes[name])
            parts.append(found.sum(dim=1) if found.dim() == 3 else found)
        return F.relu(self.projection(torch.cat(parts, dim=1))) + self.start
