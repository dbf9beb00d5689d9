"""SASRec with full cross-entropy: the plain Transformer that a public claim stands beside.

Item and position tables, pre-norm causal layers, dot products with the item table, softmax over
the whole catalogue (1808.09781 with the loss of 2309.07602). Trained on every position of the
training part, stopped by the NDCG@10 of the validation items; nothing but item ids goes in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model import metrics
from model.dataset.interactions import Interactions
from model.network.losses import linear_cross_entropy

MAX_LENGTH, BATCH_SIZE, EPOCHS, PATIENCE, LEARNING_RATE = 50, 128, 60, 4, 1e-3
LAYERS, HEADS, SPREAD, DEPTH, USERS_AT_ONCE = 2, 2, 0.02, 10, 512


@dataclass(frozen=True)
class Trained:
    """A trained network: its best ``hr@10`` and ``ndcg@10`` of validation, and after how long."""

    network: "SASRec"
    validation: dict[str, float]
    epochs: int


class SASRec(nn.Module):
    """Histories in, one vector per position out; rows are padded on the right with item 0."""

    def __init__(self, num_items: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(num_items + 1, dim, padding_idx=0)
        self.positions = nn.Embedding(MAX_LENGTH, dim)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=SPREAD)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, HEADS, 4 * dim, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, histories: Tensor) -> Tensor:
        """(B, L) int64 -> (B, L, dim); padding is never looked at by what stands before it."""
        length = histories.shape[1]
        x = self.items(histories) * self.items.embedding_dim**0.5 + self.positions.weight[:length]
        x = self.dropout(x)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return self.norm(x)


def train(
    interactions: Interactions, counts: np.ndarray, dim: int, dropout: float, seed: int
) -> Trained:
    """Train until the validation items are no longer ranked better.

    Args:
        interactions: events and split; only training events are learned from.
        counts: (num_items + 1,) training events; items without any do not compete.
        dim: of the hidden states.
        dropout: everywhere.
        seed: of weights, order and dropout.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SASRec(interactions.num_items, dim, dropout)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    ends = np.asarray(interactions.train_end)
    users = np.flatnonzero(ends - interactions.offsets[:-1] > 1)
    best, weights, waited, epoch = {"ndcg@10": -1.0}, {}, 0, 0
    while waited < PATIENCE and epoch < EPOCHS:
        epoch += 1
        network.train()
        for batch in _batches(users, ends - interactions.offsets[:-1], rng):
            optimizer.zero_grad()
            rows = padded(interactions, batch, ends[batch], MAX_LENGTH + 1)
            _loss(network, rows).backward()
            optimizer.step()
        found = evaluate(network, interactions, interactions.validation_event, counts)
        waited += 1
        if found["ndcg@10"] > best["ndcg@10"]:
            best, waited = found, 0
            weights = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    return Trained(network, best, epoch)


@torch.inference_mode()
def evaluate(
    network: SASRec, interactions: Interactions, events: np.ndarray, counts: np.ndarray
) -> dict[str, float]:
    """``hr@10`` and ``ndcg@10`` over all items with a training event, seen ones masked.

    Args:
        network: trained.
        interactions: the histories.
        events: (num_users,) index of each user's target, -1 for none; what precedes it is input.
        counts: (num_items + 1,) training events.
    """
    network.eval()
    events = np.asarray(events)
    users = np.flatnonzero(events >= 0)
    closed = torch.where(torch.from_numpy(counts > 0), 0.0, -torch.inf)
    longest = int(np.diff(interactions.offsets).max())
    ranks = []
    for batch in np.array_split(users, max(1, len(users) // USERS_AT_ONCE)):
        rows = padded(interactions, batch, events[batch], MAX_LENGTH)
        last = (rows > 0).sum(dim=1) - 1
        queries = network(rows)[torch.arange(len(rows)), last]
        scores = torch.addmm(closed, queries, network.items.weight.T)
        scores.scatter_(1, padded(interactions, batch, events[batch], longest), -torch.inf)
        targets = torch.from_numpy(interactions.item_ids[events[batch]].astype(np.int64))
        ranks.append((scores >= scores.gather(1, targets[:, None])).sum(dim=1).numpy())
    placed = np.concatenate(ranks)
    return {"hr@10": metrics.hit_rate(placed, DEPTH), "ndcg@10": metrics.ndcg(placed, DEPTH)}


def padded(interactions: Interactions, users: np.ndarray, ends: np.ndarray, longest: int) -> Tensor:
    """(B, L) int64 newest items before each end, oldest first, padded on the right with 0."""
    begins = np.maximum(interactions.offsets[users], ends - longest)
    events = begins[:, None] + np.arange(int((ends - begins).max()))
    inside = events < ends[:, None]
    items = np.asarray(interactions.item_ids)[np.where(inside, events, 0)]
    return torch.from_numpy(np.where(inside, items, 0).astype(np.int64))


def _batches(
    users: np.ndarray, lengths: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Users of similar length together, batches in random order."""
    order = users[np.argsort(lengths[users] + 4 * rng.random(len(users)), kind="stable")]
    batches = np.array_split(order, max(1, len(order) // BATCH_SIZE))
    for place in rng.permutation(len(batches)):
        yield batches[place]


def _loss(network: SASRec, rows: Tensor) -> Tensor:
    """Mean cross-entropy of every item of the rows but the first, over the whole catalogue."""
    inputs, targets = rows[:, :-1], rows[:, 1:]
    known = targets > 0
    hidden, labels = network(inputs)[known], targets[known] - 1
    weights = torch.full((len(labels),), 1.0 / len(labels))
    return linear_cross_entropy(hidden, network.items.weight[1:], None, labels, weights)
