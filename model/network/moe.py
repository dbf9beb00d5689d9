"""Feed-forward layers: SwiGLU, and a sparse mixture of SwiGLU experts that stays in balance.

Paper: 3.3 (reference: 4.4). Batches are packed, so that no padding is routed or counted.
"""

from typing import Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from model.network.balance import balancing_step, held_bias, load_gini, reachable_target
from model.network.experts import routed_experts
from model.network.linear import linear
from model.network.routing import (
    choose,
    gate_logits,
    gate_scores,
    sequence_balance_loss,
    sort_by_expert,
)


class SwiGLU(nn.Module):
    """W2 (silu(gate) * up) with [gate | up] = W1 x; no biases.

    Attributes:
        w1: (2 * hidden_dim, dim), gate above up.
        w2: (dim, hidden_dim).
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(2 * hidden_dim, dim))
        self.w2 = nn.Parameter(torch.empty(dim, hidden_dim))
        _initialise(self.w1, self.w2)

    def forward(self, x: Tensor) -> Tensor:
        """(T, dim) -> (T, dim)."""
        gate, up = linear(x, self.w1).chunk(2, dim=-1)
        return linear(F.silu(gate) * up, self.w2)


class SparseMoE(nn.Module):
    """``top_k`` of ``num_experts`` routed experts per token, and shared ones for all.

    No token is dropped. Balance comes from a loss per sequence, whose weight is small, and from
    a bias that affects only the selection ("loss-free"): ``end_step`` moves it once per optimiser
    step, and ``forward`` at once where a batch's loads would be too unequal, or too equal. The loss
    pulls towards even loads, the bias towards ``balance.reachable_target``, from either side.

    Attributes:
        gate: (num_experts, dim).
        w1: (num_experts, 2 * hidden_dim, dim), gate above up.
        w2: (num_experts, dim, hidden_dim).
        shared: one SwiGLU as wide as all shared experts, equal to their sum; None without any.
        expert_bias: (num_experts,) float32 of mean zero, added to the logits to select.
        load: (num_experts,) int64, slots of each expert in training since the last ``end_step``.
        last_load: (num_experts,) int64, of the last finished step, over all ranks.
    """

    expert_bias: Tensor
    load: Tensor
    last_load: Tensor

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        num_experts: int,
        top_k: int,
        num_shared_experts: int,
        gate: Literal["softmax", "sigmoid"],
        balance_loss_weight: float,
        bias_step: float,
    ) -> None:
        super().__init__()
        self.top_k, self.gate_kind = top_k, gate
        self.num_shared_experts = num_shared_experts
        self.balance_loss_weight, self.bias_step = balance_loss_weight, bias_step
        self.gate = nn.Parameter(torch.empty(num_experts, dim))
        self.w1 = nn.Parameter(torch.empty(num_experts, 2 * hidden_dim, dim))
        self.w2 = nn.Parameter(torch.empty(num_experts, dim, hidden_dim))
        _initialise(self.gate, self.w1, self.w2)
        self.shared = SwiGLU(dim, num_shared_experts * hidden_dim) if num_shared_experts else None
        self.register_buffer("expert_bias", torch.zeros(num_experts))
        nothing = torch.zeros(num_experts, dtype=torch.int64)
        self.register_buffer("load", nothing, persistent=False)
        self.register_buffer("last_load", nothing.clone(), persistent=False)

    def forward(self, x: Tensor, rows: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
        """Mix the experts; in training also hold the balance and count the loads.

        Args:
            x: (T, dim) hidden states.
            rows: (T,) int64, the sequence of each token, ascending.
            num_rows: sequences.

        Returns:
            (T, dim), and the weighted balance loss, 0-d float32: 0 outside training.
        """
        logits = gate_logits(x, self.gate)
        if self.training and self.bias_step:
            held = held_bias(logits, self.expert_bias, self.top_k, self.load)
            self.expert_bias.copy_(held)
        scores = gate_scores(logits, self.gate_kind)
        chosen, weights = choose(logits, scores, self.expert_bias, self.top_k)
        routing = sort_by_expert(chosen, weights, len(self.gate))
        out = routed_experts(x, self.w1, self.w2, routing)
        if self.shared is not None:
            out = out + self.shared(x)
        if not self.training:
            return out, scores.new_zeros(())
        self.load += routing.loads
        if not self.balance_loss_weight:
            return out, scores.new_zeros(())
        balance = sequence_balance_loss(scores, chosen, rows, num_rows)
        return out, self.balance_loss_weight * balance

    @torch.no_grad()
    def end_step(self) -> None:
        """Move the bias by the load of all micro-batches and ranks, and reset the count.

        Call it once per optimiser step, on every rank.
        """
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(self.load)
        target = reachable_target(len(self.gate), self.top_k)
        moved = balancing_step(self.expert_bias, self.load, self.bias_step, target)
        self.expert_bias.copy_(moved)
        self.last_load.copy_(self.load)
        self.load.zero_()

    def gini(self) -> Tensor:
        """0-d float32, inequality of the last finished step's loads; 0 is even, 0 before any."""
        return load_gini(self.last_load)


def _initialise(*weights: Tensor) -> None:
    """Normal with variance 1 / fan-in, that of one expert and not of the fused tensor."""
    for weight in weights:
        nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
