"""Which expert computes which token: the gate, the order by expert, and the balance of the loads.

Nothing here waits for the device: every shape follows from the shape of the input.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-20


@dataclass(frozen=True)
class Routing:
    """A slot is one of the ``top_k`` choices of a token; slots stand in the order of experts.

    Attributes:
        order: (T * top_k,) int64, slot -> token * top_k + choice.
        tokens: (T * top_k,) int64, slot -> token; ascending within an expert.
        weights: (T * top_k,) float32, of each slot in its token's sum.
        loads: (E,) int64, slots of each expert.
    """

    order: Tensor
    tokens: Tensor
    weights: Tensor
    loads: Tensor


def gate_scores(x: Tensor, gate: Tensor, kind: str) -> Tensor:
    """(T, E) fp32 affinities (fp64 for fp64 input): a softmax over experts, or one sigmoid each.

    The gate is computed in full precision even under autocast: the order of close scores decides.
    """
    with torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(x.dtype, torch.float32)
        logits = x.to(wide) @ gate.to(wide).t()
    return logits.softmax(dim=-1) if kind == "softmax" else logits.sigmoid()


def choose(scores: Tensor, expert_bias: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The ``top_k`` experts of each token by score plus bias; the bias only selects.

    Returns:
        (T, top_k) int64 experts, and their weights: their scores over the sum of these.
    """
    chosen = (scores.detach() + expert_bias).topk(top_k, dim=-1).indices
    weights = scores.gather(1, chosen)
    return chosen, weights / (weights.sum(dim=-1, keepdim=True) + TINY)


def sort_by_expert(chosen: Tensor, weights: Tensor, num_experts: int) -> Routing:
    """Order the slots of (T, top_k) choices by expert, stably."""
    flat = chosen.flatten()
    order = flat.argsort(stable=True)
    loads = torch.zeros(num_experts, dtype=torch.int64, device=flat.device)
    return Routing(
        order=order,
        tokens=order // chosen.shape[1],
        weights=weights.flatten().index_select(0, order),
        loads=loads.scatter_add_(0, flat, torch.ones_like(flat)),
    )


def sequence_balance_loss(scores: Tensor, chosen: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """The mean over sequences of sum_e f_e P_e; 1 where every sequence is perfectly even.

    f_e is the share of the sequence's slots that went to expert e, times E; P_e the mean over its
    tokens of the score, normalised over experts. Only the scores carry a gradient. The sum over a
    row's tokens is taken per token (f divided by the row's length), which needs no scatter of
    floats and so is deterministic on every device.

    Args:
        scores: (T, E), not negative.
        chosen: (T, top_k) int64.
        rows: (T,) int64, sequence of each token.
        num_rows: sequences.

    Returns:
        0-d, the type of ``scores``.
    """
    num_experts, top_k = scores.shape[1], chosen.shape[1]
    cells = (rows[:, None] * num_experts + chosen).flatten()
    counts = scores.new_zeros(num_rows * num_experts)
    counts.scatter_add_(0, cells, torch.ones_like(cells, dtype=scores.dtype))
    counts = counts.view(num_rows, num_experts)
    lengths = counts.sum(dim=1, keepdim=True).clamp(min=1.0) / top_k
    f_per_token = counts * num_experts / (lengths * top_k) / lengths
    normalised = scores / (scores.sum(dim=1, keepdim=True) + TINY)
    return (f_per_token[rows] * normalised).sum() / num_rows


def balancing_step(expert_bias: Tensor, loads: Tensor, step: float) -> Tensor:
    """The next bias: a step towards busy for idle experts and back for busy ones, mean zero.

    Without the centring the sign rule is no zero-sum game and the bias drifts (reference: 4.4).
    """
    loads = loads.to(expert_bias.dtype)
    moved = expert_bias + step * torch.sign(loads.mean() - loads)
    return moved - moved.mean()


def load_gini(loads: Tensor) -> Tensor:
    """0-d float32: 0 where all loads are equal or none, towards 1 where one expert has all."""
    ascending = loads.sort().values.to(torch.float32)
    n = len(loads)
    places = torch.arange(1, n + 1, device=loads.device, dtype=torch.float32)
    total = ascending.sum().clamp(min=1.0)
    return ((2 * places - n - 1) * ascending).sum() / (n * total)
