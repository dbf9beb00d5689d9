"""The HSTU layer and its cross-attending sibling, over packed rows.

Reference: 4.1 for the formulas. ``normalize_attention`` normalises the attention's output before
the gate, as in published HSTU but not in the paper's code.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.attention import hstu_attention
from model.network.attention_plan import AttentionPlan
from model.network.beam_attention import Memory, attend_last
from model.network.feed_forward import EPSILON, FeedForward, build_feed_forward
from model.network.gated_attention import gated_attention
from model.network.initialization import initialize
from model.network.linear import Linear

if TYPE_CHECKING:
    from model.params import NetworkParams

NUM_TIME_BUCKETS = 64  # of the attention's time bias: buckets of log seconds, far beyond a decade


class AttentionBias(nn.Module):
    """Learned bias of the scores by distance in positions and in time; each (entries, heads)."""

    def __init__(self, params: "NetworkParams") -> None:
        super().__init__()
        heads = params.num_heads
        positions = params.max_length + 1
        self.position = (
            nn.Parameter(torch.zeros(positions, heads)) if params.position_bias else None
        )
        self.time = nn.Parameter(torch.zeros(NUM_TIME_BUCKETS, heads)) if params.time_bias else None

    def from_the_end(self, memory: Memory) -> Tensor | None:
        """(heads, T) bias of each token for a query at its row's end, None where there is none."""
        total = None
        if self.position is not None:
            distance = memory.distance.clamp(max=len(self.position) - 1)
            total = self.position.T.index_select(1, distance)
        if self.time is not None and memory.buckets is not None:
            times = self.time.T.index_select(1, memory.buckets)
            total = times if total is None else total + times
        return total


class HSTULayer(nn.Module):
    """Gated self-attention with pointwise SiLU weights, and the feed-forward part after it."""

    def __init__(self, params: "NetworkParams") -> None:
        super().__init__()
        dim = params.dim
        self.num_heads, self.dropout = params.num_heads, params.dropout
        self.input_norm = nn.LayerNorm(dim, eps=EPSILON)
        self.uvqk = Linear(dim, 4 * dim)
        self.bias = AttentionBias(params)
        self.attention_norm = (
            nn.LayerNorm(dim, eps=EPSILON) if params.normalize_attention else nn.Identity()
        )
        self.output = Linear(dim, dim)
        self.feed_forward: FeedForward | None = build_feed_forward(params)
        initialize(self.uvqk, self.output)
        if params.zero_init_residual:
            self._begin_as_identity()

    def _begin_as_identity(self) -> None:
        """Zero the output weights of both residual branches.

        At full size the branches drown the layer's input, and the more layers there are, the longer
        it takes until the items reach the output again.
        """
        nn.init.zeros_(self.output.weight)
        for weight in self.feed_forward.outputs() if self.feed_forward else ():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, plan: AttentionPlan, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """(T, dim) -> (T, dim) and the balance loss of its experts, if it has any.

        Args:
            x: hidden states.
            plan: of the rows.
            rows: (T,) int64, the row of each token.
        """
        norm = self.attention_norm
        affine = (norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else (None, None)
        gated = gated_attention(
            self.uvqk(self.input_norm(x)),
            plan,
            self.bias.position,
            self.bias.time,
            *affine,
            num_heads=self.num_heads,
            scale=_scale(x, self.num_heads),
            eps=EPSILON,
        )
        mixed = self.output(gated)
        x = x + F.dropout(mixed, self.dropout, self.training)
        if self.feed_forward is None:
            return x, None
        return self.feed_forward(x, rows, len(plan.offsets) - 1)


class CrossHSTULayer(nn.Module):
    """A decoder layer: the same attention as cross-attention, with queries from elsewhere.

    In training there is one query per token of the memory; in decoding there are W queries at the
    last position of each row, which share its keys and values.
    """

    def __init__(self, params: "NetworkParams") -> None:
        super().__init__()
        dim = params.dim
        self.num_heads, self.dropout = params.num_heads, params.dropout
        self.input_norm = nn.LayerNorm(dim, eps=EPSILON)
        self.uq = Linear(dim, 2 * dim)
        self.vk = Linear(dim, 2 * dim)
        self.bias = AttentionBias(params)
        self.attention_norm = (
            nn.LayerNorm(dim, eps=EPSILON) if params.normalize_attention else nn.Identity()
        )
        self.output = Linear(dim, dim)
        initialize(self.uq, self.vk, self.output)

    def forward(self, query: Tensor, memory: Tensor, plan: AttentionPlan) -> Tensor:
        """Queries (T, dim) attend to the memory (T, dim) up to their own token: (T, dim)."""
        u, q = F.silu(self.uq(self.input_norm(query))).chunk(2, dim=1)
        v, k = self.values_keys(memory)
        attended = hstu_attention(
            q.reshape(k.shape),
            k,
            v,
            plan,
            self.bias.position,
            self.bias.time,
            scale=_scale(query, self.num_heads),
        ).reshape(query.shape)
        mixed = self.output(self.attention_norm(attended) * u)
        return query + F.dropout(mixed, self.dropout, self.training)

    def values_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Values and keys of the memory (T, dim): two (T, heads, dim / heads)."""
        v, k = F.silu(self.vk(memory)).chunk(2, dim=1)
        heads = (len(memory), self.num_heads, memory.shape[1] // self.num_heads)
        return v.reshape(heads), k.reshape(heads)

    def attend_last(self, query: Tensor, memory: Memory) -> Tensor:
        """W queries (B, W, dim) at the last position of each of B rows: (B, W, dim)."""
        gated = attend_last(
            self.uq(self.input_norm(query)),
            memory,
            self.vk,
            self.bias.from_the_end(memory),
            self.attention_norm,
            num_heads=self.num_heads,
            scale=_scale(query, self.num_heads),
        )
        return query + self.output(gated)


def _scale(x: Tensor, num_heads: int) -> float:
    return 1.0 / math.sqrt(x.shape[-1] // num_heads)
