"""NDCG@10 of embedding-only search on validation users, as a guide for early stopping.

The candidate set is every recommendable item with a training event, less the user's history. The
full evaluation of all paths belongs to ``model.inference``.
"""

import numpy as np
import torch
from torch import Tensor

from model import metrics
from model.dataset.csr import positions_of
from model.dataset.interactions import CLICK
from model.dataset.item_features import ItemFeatureStore
from model.dataset.sequences import SequenceDataset
from model.dataset.split import sample_users
from model.network.onepiece import OnePiece
from model.network.unit import unit

ITEMS_AT_ONCE, DEPTH = 8192, 10
# More on a GPU: each batch reads all vectors, and few users would leave the encoder idle.
SCORES_AT_ONCE = {"cpu": 20_000_000, "cuda": 200_000_000}


class Validation:
    """A fixed sample of validation users, and the candidate items."""

    def __init__(
        self, dataset: SequenceDataset, counts: np.ndarray, max_users: int, seed: int
    ) -> None:
        """Draw the users.

        Args:
            dataset: gives histories.
            counts: (num_items + 1,) training events per item.
            max_users: a seeded sample where there are more.
            seed: of the sample.
        """
        interactions = dataset.interactions
        self.dataset = dataset
        self.users = sample_users(interactions.validation_event, max_users, seed)
        candidates = np.asarray(interactions.candidate_item_ids)
        self.items = candidates[counts[candidates] > 0].astype(np.int64)
        self._place = np.full(interactions.num_items + 1, -1, np.int64)
        self._place[self.items] = np.arange(len(self.items))

    @property
    def possible(self) -> bool:
        return len(self.users) > 0 and len(self.items) > 0

    @torch.inference_mode()
    def measure(self, network: OnePiece, device: torch.device) -> dict[str, float]:
        """``hr@10`` and ``ndcg@10`` of a network in evaluation mode."""
        vectors = self._embed(network, self.dataset.features)
        ranks = []
        rows = max(1, SCORES_AT_ONCE[device.type] // len(self.items))
        for users, batch in self.dataset.evaluation_batches(
            "validation", self.users, min(512, rows), default_action=CLICK
        ):
            encoded = network.encode(batch.to(device))
            scores = unit(encoded.hidden[batch.last.to(device)]) @ vectors.T
            self._hide_seen(scores, users)
            best, places = scores.topk(min(DEPTH, scores.shape[1]), dim=1)
            # With few candidates, masked ones can still be among the top.
            found = places.where(best > -torch.inf, -1).cpu().numpy()
            ranks.append(metrics.ranks_in_lists(found, self._targets(users)))
        placed = np.concatenate(ranks)
        return {
            "hr@10": float(metrics.hits(placed, DEPTH).mean()),
            "ndcg@10": float(metrics.discounted_gains(placed, DEPTH).mean()),
        }

    def _embed(self, network: OnePiece, features: ItemFeatureStore) -> Tensor:
        ids = torch.from_numpy(self.items)
        return torch.cat(
            [unit(network.embed_items(features.gather(part))) for part in ids.split(ITEMS_AT_ONCE)]
        )

    def _targets(self, users: np.ndarray) -> np.ndarray:
        """(B,) index of each target among the candidates, -1 where it is not one."""
        interactions = self.dataset.interactions
        return self._place[interactions.item_ids[interactions.validation_event[users]]]

    def _hide_seen(self, scores: Tensor, users: np.ndarray) -> None:
        interactions = self.dataset.interactions
        begins = np.asarray(interactions.offsets[users])
        counts = np.asarray(interactions.validation_event[users]) - begins
        places = self._place[interactions.item_ids[positions_of(begins, counts)]]
        owners = np.repeat(np.arange(len(users)), counts)
        inside = places >= 0
        rows, columns = torch.from_numpy(owners[inside]), torch.from_numpy(places[inside])
        scores[rows.to(scores.device), columns.to(scores.device)] = -torch.inf
