"""The items that may be recommended, as the recommender sees them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.recommendable import item_groups
from model.inference.embedding import embed_chunks
from model.network.onepiece import OnePiece


@dataclass(frozen=True)
class Catalogue:
    """C allowed items; a "row" is an index into these arrays.

    Attributes:
        item_ids: (C,) int32 ascending.
        rows: (num_items + 1,) int64, the row of an item id, -1 where it is not allowed.
        vectors: (C, D) float32, length 1.
        log_q: (C,) float32, log share of the training events.
        counts: (C,) int64 training events.
        groups: (C,) int64, value of the capped feature, 0 where it is missing or there is no cap.
        sids: (C, levels) int64, 0 where an item has none.
    """

    item_ids: np.ndarray
    rows: np.ndarray
    vectors: Tensor
    log_q: Tensor
    counts: np.ndarray
    groups: Tensor
    sids: Tensor

    def __len__(self) -> int:
        return len(self.item_ids)

    def groups_of(self, rows: Tensor) -> Tensor:
        """Rows (...) -> their groups, -1 where the row is -1."""
        return torch.where(rows >= 0, self.groups[rows.clamp(min=0)], -1)

    def items_of(self, rows: Tensor) -> np.ndarray:
        """Rows (...) -> item ids int32, 0 where the row is -1."""
        chosen = rows.cpu().numpy()
        return np.where(chosen >= 0, self.item_ids[np.maximum(chosen, 0)], 0).astype(np.int32)

    def sids_of(self, rows: Tensor) -> np.ndarray:
        """Rows (...) -> semantic IDs (..., levels) int32, 0 where the row is -1."""
        codes = torch.where((rows >= 0)[..., None], self.sids[rows.clamp(min=0)], 0)
        return codes.cpu().numpy().astype(np.int32)


def build_catalogue(
    network: OnePiece,
    features: ItemFeatureStore,
    interactions: Interactions,
    statistics: ItemStatistics,
    item_ids: np.ndarray,
    codes: np.ndarray,
    *,
    group_feature: str | None,
    device: torch.device,
) -> Catalogue:
    """Embed the allowed items and collect their counts, groups and semantic IDs.

    Args:
        network: gives the vectors.
        features: of all items.
        interactions: holds ``group_feature``.
        statistics: of the training part.
        item_ids: (C,) allowed items, ascending.
        codes: (num_items + 1, levels) semantic IDs.
        group_feature: scalar item feature whose values are capped; None for no cap.
        device: of the tensors.

    Raises:
        InputError: ``group_feature`` is no scalar feature of this data.
    """
    groups = item_groups(interactions, item_ids, group_feature)
    rows = np.full(interactions.num_items + 1, -1, np.int64)
    rows[item_ids] = np.arange(len(item_ids))
    vectors: Tensor | None = None
    done = 0
    for chunk in embed_chunks(network, features, item_ids, device):
        if vectors is None:
            vectors = torch.empty(len(item_ids), chunk.shape[1], device=device)
        vectors[done : done + len(chunk)] = chunk
        done += len(chunk)
    assert vectors is not None, "allowed items are never empty"
    return Catalogue(
        item_ids=item_ids,
        rows=rows,
        vectors=vectors,
        log_q=torch.from_numpy(np.asarray(statistics.log_q[item_ids], np.float32)).to(device),
        counts=statistics.counts[item_ids].sum(axis=1),
        groups=torch.from_numpy(groups).to(device),
        sids=torch.from_numpy(codes[item_ids].astype(np.int64)).to(device),
    )
