"""Routing of tokens to experts: the gate, the sort by expert, and the balance loss.

Nothing here synchronises with the device: every shape follows from the shape of the input.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-20


@dataclass(frozen=True)
class Routing:
    """Slots sorted by expert; a slot is one of the ``top_k`` choices of a token.

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


def gate_logits(x: Tensor, gate: Tensor) -> Tensor:
    """(T, dim) inputs and the gate (E, dim) -> (T, E) fp32 affinities (fp64 for fp64 input).

    The gate is computed in full precision even under autocast: the order of close scores matters.
    """
    with torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(x.dtype, torch.float32)
        return x.to(wide) @ gate.to(wide).t()


def gate_scores(logits: Tensor, kind: str) -> Tensor:
    """(T, E) logits -> (T, E) positive scores: a softmax over the experts, or one sigmoid each."""
    return logits.softmax(dim=-1) if kind == "softmax" else logits.sigmoid()


def choose(
    logits: Tensor, scores: Tensor, expert_bias: Tensor, top_k: int
) -> tuple[Tensor, Tensor]:
    """The ``top_k`` experts of each token by logit plus bias; the bias only selects.

    The published bias is added to the scores, whose spread depends on the number of experts and on
    how confident the gate is: a step of 0.02 is negligible for two experts and drowns the scores of
    64, 1/64 on average (reference: 4.4). Logits have one scale for all of these.

    A single score normalised by itself would always be 1 and give the gate no gradient. So with
    ``top_k`` 1 the expert is weighted by its score itself, as in Switch Transformers (Fedus et al.
    2021, section 2.1).

    Args:
        logits: (T, E).
        scores: (T, E), of :func:`gate_scores`.
        expert_bias: (E,) float32.
        top_k: experts per token.

    Returns:
        (T, top_k) int64 experts, and their weights: their scores, normalised to a sum of 1 unless
        ``top_k`` is 1.
    """
    chosen = (logits.detach() + expert_bias).topk(top_k, dim=-1).indices
    weights = scores.gather(1, chosen)
    if top_k == 1:
        return chosen, weights
    return chosen, weights / (weights.sum(dim=-1, keepdim=True) + TINY)


def sort_by_expert(chosen: Tensor, weights: Tensor, num_experts: int) -> Routing:
    """Order the slots by expert, stably.

    Args:
        chosen: (T, top_k) int64 experts.
        weights: (T, top_k), of each choice in its token's sum.
        num_experts: E.
    """
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
    scores and so is deterministic on every device.

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
    return (f_per_token[rows] * normalised).sum() / max(1, num_rows)  # a micro-batch may be empty
