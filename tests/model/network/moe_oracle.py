"""A mixture of experts as one reads it: a loop over experts, a boolean mask for each."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.moe import SparseMoE


def moe_reference(
    moe: SparseMoE, x: Tensor, rows: Tensor, num_rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (T, dim), weighted balance loss (0-d), loads (E,)."""
    num_experts = len(moe.gate)
    logits = x @ moe.gate.t()
    scores = logits.softmax(-1) if moe.gate_kind == "softmax" else logits.sigmoid()
    chosen = (logits + moe.expert_bias).topk(moe.top_k).indices
    weights = scores.gather(1, chosen)
    if moe.top_k > 1:
        weights = weights / weights.sum(1, keepdim=True)
    out = torch.zeros_like(x)
    for expert in range(num_experts):
        mask = chosen == expert
        weight = (weights * mask).sum(1, keepdim=True)
        out = out + weight * swiglu_reference(x, moe.w1[expert], moe.w2[expert])
    if moe.shared is not None:
        out = out + swiglu_reference(x, moe.shared.w1, moe.shared.w2)
    loads = torch.stack([(chosen == expert).sum() for expert in range(num_experts)])
    loss = balance_reference(scores, chosen, rows, num_rows) * moe.balance_loss_weight
    return out, loss, loads


def swiglu_reference(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    hidden = len(w1) // 2
    return (F.silu(x @ w1[:hidden].t()) * (x @ w1[hidden:].t())) @ w2.t()


def balance_reference(scores: Tensor, chosen: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Sequence by sequence, expert by expert."""
    num_experts, top_k = scores.shape[1], chosen.shape[1]
    normalised = scores / scores.sum(1, keepdim=True)
    total = scores.new_zeros(())
    for row in range(num_rows):
        here = rows == row
        if not here.any():
            continue
        for expert in range(num_experts):
            count = (chosen[here] == expert).sum().to(scores.dtype)
            f = count * num_experts / (here.sum() * top_k)
            total = total + f * normalised[here, expert].mean()
    return total / num_rows
