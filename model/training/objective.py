"""The joint objective of a batch: InfoNCE with logQ, and the loss of every semantic ID level.

The negatives of InfoNCE are the distinct items of the batch, each once: there can be no accidental
hit among them. Under ``full_catalogue`` they are all items, without logQ correction.
Paper: section 3.4, equations 2 to 4; reference: 5.3.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.dataset.sequences import Batch
from model.network.losses import inclusion_log_probability, linear_cross_entropy
from model.network.onepiece import EncoderOutput, OnePiece
from model.network.unit import unit
from model.training.distributed import gather_columns, of_each_process, total
from model.training.streaming_logq import StreamingLogQ

if TYPE_CHECKING:
    from model.params import LossParams


@dataclass(frozen=True)
class Totals:
    """The normalisers of a step's sums, over all its micro-batches and processes; each above 0.

    Attributes:
        weight: of all targets.
        sid_weight: of the targets that have a semantic ID.
        rows: number of rows.
    """

    weight: float
    sid_weight: float
    rows: float


class Objective(nn.Module):
    """The network with its losses: the module that data parallelism wraps."""

    log_q: Tensor
    codes: Tensor | None

    def __init__(
        self,
        network: OnePiece,
        params: "LossParams",
        log_q: Tensor,
        codes: Tensor | None,
        num_known_items: int,
    ) -> None:
        """Add the losses to a network.

        Args:
            network: to be trained.
            params: weights and forms of the losses.
            log_q: (num_items + 1,) float32 log shares of the training events.
            codes: (num_items + 1, levels) semantic IDs, None without a decoder.
            num_known_items: that uniform negatives are drawn from.
        """
        super().__init__()
        self.network, self.params = network, params
        self.num_known_items = num_known_items
        self.register_buffer("log_q", log_q, persistent=False)
        self.register_buffer("codes", codes, persistent=False)
        self.streaming = StreamingLogQ(len(log_q)) if params.logq == "streaming" else None

    def target_weights(self, batch: Batch) -> Tensor:
        """(T,) float32 weight of each target, 0 where there is none."""
        weights = torch.tensor(self.params.action_weights, device=batch.target_actions.device)
        return weights[batch.target_actions] * (batch.target_ids > 0)

    def sids(self, batch: Batch) -> Tensor:
        """(T, levels) int64 codes of the targets; 0 where there are none."""
        assert self.codes is not None, "no semantic IDs to ask for"
        return self.codes[batch.target_ids].long()

    def measure(self, batch: Batch) -> Tensor:
        """(3,) float64: weight, weight with a semantic ID, and rows of a batch."""
        weights = self.target_weights(batch)
        has_sid = (
            torch.zeros_like(weights) if self.codes is None else (self.sids(batch) > 0).all(dim=1)
        )
        parts = [weights.sum(), (weights * has_sid).sum(), torch.tensor(float(batch.num_rows))]
        return torch.stack([part.double().to(weights.device) for part in parts])

    def forward(self, batch: Batch, totals: Totals) -> tuple[Tensor, Tensor]:
        """The batch's share of the step's loss, and its terms for the record.

        Returns:
            () loss; (1 + levels + 1,) detached: InfoNCE, each level, balance.
        """
        encoded = self.network.encode(batch)
        weights = self.target_weights(batch)
        infonce = self._infonce(batch, encoded, weights) / totals.weight
        levels = self._levels(batch, encoded, weights, totals)
        balance = encoded.balance_loss * (batch.num_rows / totals.rows)
        loss = self.params.infonce_weight * infonce + balance
        for weight, level in zip(self.params.sid_weights, levels, strict=True):
            loss = loss + weight * level
        return loss, torch.stack([infonce, *levels, balance]).detach()

    def _infonce(self, batch: Batch, encoded: EncoderOutput, weights: Tensor) -> Tensor:
        queries = unit(encoded.hidden) / self.params.temperature
        ids, columns = batch.items.ids[1:], unit(encoded.item_vectors[1:])
        labels = (batch.target_items - 1).clamp(min=0)
        if self._gathers:
            ids, columns, labels = gather_columns(ids, columns, labels)
        return linear_cross_entropy(
            queries,
            columns,
            self._correction(ids, batch),
            labels,
            weights,
            label_smoothing=self.params.label_smoothing,
        )

    @property
    def _gathers(self) -> bool:
        """Whether the negatives are those of all processes."""
        return self.params.cross_rank_negatives and self.params.negatives == "in_batch"

    def _correction(self, ids: Tensor, batch: Batch) -> Tensor | None:
        """(C,) logQ correction of the logits: minus the log probability of being a negative.

        A negative comes from one micro-batch, of one process unless they are gathered: the other
        micro-batches of the step do not make it more probable.
        """
        if self.params.negatives == "full_catalogue" or self.params.logq == "none":
            return None
        if self.streaming is not None:
            if self.training:
                for found in [ids] if self._gathers else of_each_process(ids):
                    self.streaming.update(found)
            return -self.streaming(ids)
        num_draws, num_uniform = len(batch.target_ids), self.params.num_uniform_negatives
        if self._gathers:
            num_draws = total(batch.target_ids.new_tensor(num_draws))  # the uniform ones are shared
        return -inclusion_log_probability(
            self.log_q[ids], num_draws, num_uniform=num_uniform, num_items=self.num_known_items
        )

    def _levels(
        self, batch: Batch, encoded: EncoderOutput, weights: Tensor, totals: Totals
    ) -> list[Tensor]:
        if not self.params.sid_weights:
            return []
        sids = self.sids(batch)
        weights = weights * (sids > 0).all(dim=1)
        queries = self.network.decoder(encoded.hidden, encoded.plan, sids)
        losses = []
        for level, query in enumerate(queries, 1):
            loss = linear_cross_entropy(
                query,
                self.network.decoder.output_weight(level)[1:],
                self.network.decoder.output_bias(level)[1:],
                (sids[:, level - 1] - 1).clamp(min=0),
                weights,
            )
            losses.append(loss / totals.sid_weight)
        return losses
