"""Reference HSTU attention: padded, dense, slow; the oracle in tests of the fast paths.

It also serves the devices that have no fast path. Autograd keeps several (B, H, L, L) tensors.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.attention_plan import AttentionPlan


def attend_dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: AttentionPlan,
    position_bias: Tensor | None,
    time_bias: Tensor | None,
    *,
    scale: float,
) -> Tensor:
    """As :func:`model.network.attention.hstu_attention`, (T, H, E) in and out."""
    tokens = plan.dense_tokens
    queries, keys, values = (_pad(x, tokens) for x in (q, k, v))
    scores = queries @ keys.transpose(-1, -2) * scale
    distances = torch.arange(plan.max_length, device=q.device)
    distances = distances[:, None] - distances
    if position_bias is not None:
        rows = distances.clamp(min=0, max=len(position_bias) - 1)
        scores = scores + position_bias[rows].permute(2, 0, 1)
    if time_bias is not None:
        scores = scores + time_bias[plan.dense_buckets].permute(0, 3, 1, 2)
    weights = torch.where(distances >= 0, F.silu(scores), 0.0)
    out = (weights @ values).transpose(1, 2)
    return out[tokens < plan.num_tokens].to(q.dtype)


def _pad(x: Tensor, tokens: Tensor) -> Tensor:
    """(T, H, E) -> (B, H, L, E), zeros where a row has ended."""
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])[tokens].transpose(1, 2)
