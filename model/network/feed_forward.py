"""What follows the attention in a layer: nothing, one SwiGLU, or routed experts."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.moe import SparseMoE, SwiGLU

if TYPE_CHECKING:
    from model.params import NetworkParams

EPSILON = 1e-6  # of every norm in the network


class FeedForward(nn.Module):
    """Pre-norm, residual; dense or a mixture of experts."""

    def __init__(self, inner: SwiGLU | SparseMoE, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=EPSILON)
        self.inner = inner
        self.dropout = dropout

    def outputs(self) -> list[nn.Parameter]:
        """The matrices whose products make up the output."""
        shared = self.inner.shared if isinstance(self.inner, SparseMoE) else None
        return [self.inner.w2, *([shared.w2] if shared is not None else [])]

    def forward(self, x: Tensor, rows: Tensor, num_rows: int) -> tuple[Tensor, Tensor | None]:
        """(T, dim) -> (T, dim) and the balance loss, None for a dense one."""
        balance: Tensor | None = None
        if isinstance(self.inner, SparseMoE):
            made, balance = self.inner(self.norm(x), rows, num_rows)
        else:
            made = self.inner(self.norm(x))
        return x + F.dropout(made, self.dropout, self.training), balance


def build_feed_forward(params: "NetworkParams") -> FeedForward | None:
    """The feed-forward part that ``network.feed_forward`` asks for; None for ``none``."""
    chosen = params.feed_forward
    if chosen.kind == "none":
        return None
    if chosen.kind == "dense":
        return FeedForward(SwiGLU(params.dim, chosen.hidden_dim), params.dim, params.dropout)
    experts = SparseMoE(
        params.dim,
        chosen.hidden_dim,
        num_experts=chosen.num_experts,
        top_k=chosen.top_k,
        num_shared_experts=chosen.num_shared_experts,
        gate=chosen.gate,
        balance_loss_weight=chosen.balance_loss_weight,
        bias_step=chosen.bias_step,
    )
    return FeedForward(experts, params.dim, params.dropout)


def total_balance_loss(losses: list[Tensor | None], like: Tensor) -> Tensor:
    """The sum over the layers, 0-d, of the type of ``like``; 0 where there are no experts."""
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).sum() if found else like.new_zeros(())
