"""The balance of the experts' loads: how unequal they are, and the bias that controls them.

Two mechanisms move the bias. ``balancing_step`` moves it a little after every optimiser step, by
the loads of that step. ``held_bias`` acts before a batch is routed: a gate can move faster than
such steps can follow, above all in the first dozen of a training with a short warm-up, and where a
batch's loads would leave the band the bias is corrected. Nothing here synchronises with a GPU.
"""

import torch
from torch import Tensor, distributed

from model.network.routing import TINY

# The Gini of the loads that the bias aims at: about the geometric mean of 0.05 (experts that may
# not specialise) and 0.4 (on the way to a collapse), so that noise has as far to go to either.
TARGET_GINI = 0.15

# Multiples of the target. A batch that would leave the outer band, a little narrower than 0.05 to
# 0.4, is brought into the inner one, so that not every step has to. The first steps are small, so
# that the bias moves no further than necessary (one needless move of a whole logit, early in a
# training of a thousand steps, cost a twentieth of the score); so are the last, to end in the band.
_OUTER = (0.4, 2.5)
_INNER = (0.5, 2.0)
_STEPS = (*(0.1 * 1.4**i for i in range(9)), *(1.5 * 0.7**i for i in range(9)))  # of a logit
_FEWEST = 8  # slots per expert; with fewer, loads are chance
# The sample of a process's batch, whichever is more tokens; its loads stand for all.
_TOKENS_LOOKED_AT = 16_384
_SLOTS_LOOKED_AT = 64  # per expert
_SPREADING = 2_654_435_761  # a prime far above any number of tokens
_NUDGE = 0.1  # of a logit, where all loads are equal and give no direction


def load_gini(loads: Tensor) -> Tensor:
    """Gini of loads (E,) int64, 0-d float32: 0 if equal or all zero, towards 1 if one has all."""
    ascending = loads.sort().values.to(torch.float32)
    n = len(loads)
    places = torch.arange(1, n + 1, device=loads.device, dtype=torch.float32)
    total = ascending.sum().clamp(min=1.0)
    return ((2 * places - n - 1) * ascending).sum() / (n * total)


def reachable_target(num_experts: int, top_k: int) -> float:
    """``TARGET_GINI``, or half the largest possible Gini where that is less.

    The largest, with all other experts idle, is 1 - top_k / num_experts. Where nearly all experts
    answer every token, a bias that aims at a larger Gini would starve the others for good.
    """
    return min(TARGET_GINI, (1.0 - top_k / num_experts) / 2)


def balancing_step(expert_bias: Tensor, loads: Tensor, step: float, target: float) -> Tensor:
    """The next bias, of mean zero, which moves the Gini of the loads towards the target.

    The wanted loads are the present ones with all deviations from the mean scaled by one factor, so
    that their Gini is the target; which experts are busy is left to the gate. The published rule, a
    constant step by the sign of the deviation, is too slow for a gate that learns fast at first,
    and finally makes all experts equally busy. Without centring the bias drifts (reference: 4.4).

    Args:
        expert_bias: (E,) float32.
        loads: (E,) int64, slots of each expert since the last step.
        step: the move, before centring, of an expert whose load is off by the mean load or more.
        target: Gini of the loads, of :func:`reachable_target`.

    Returns:
        (E,) float32.
    """
    gini = load_gini(loads)
    loads = loads.to(expert_bias.dtype)
    deviation = (loads - loads.mean()) / loads.mean().clamp(min=TINY)
    unwanted = deviation * (1.0 - target / gini.clamp(min=TINY))
    moved = expert_bias - step * unwanted.clamp(-1.0, 1.0)
    return moved - moved.mean()


@torch.no_grad()
def held_bias(logits: Tensor, expert_bias: Tensor, top_k: int, earlier: Tensor) -> Tensor:
    """The bias, corrected where the loads of the step would otherwise leave the band.

    The loads are summed over all processes, which must all call this, and over the step's earlier
    micro-batches: where these favour different experts, each may be inside the band although all
    together are too equal. A bias of E numbers leaks nothing about a batch's other tokens.

    Args:
        logits: (T, E).
        expert_bias: (E,) float32.
        top_k: experts per token.
        earlier: (E,) int64 loads of this process's earlier micro-batches; not modified.

    Returns:
        (E,) float32: the bias unchanged where the loads stay in the band or are too few to tell.
    """
    num_experts = len(expert_bias)
    looked_at = _some(logits, top_k)
    target = reachable_target(num_experts, top_k)
    # The earlier loads count all tokens, also in processes without a token now.
    share = len(looked_at) / len(logits) if len(logits) else 1.0
    own = _own_loads(looked_at, expert_bias, top_k)
    loads, before = _of_all_processes(torch.stack([own, (earlier * share).long()]))
    enough = loads.sum() >= _FEWEST * num_experts
    loads = loads + before
    outside = ~_within(load_gini(loads), target, _OUTER) & enough
    # On a GPU this test would force a synchronisation.
    if logits.device.type == "cpu" and not outside:
        return expert_bias
    bias = expert_bias
    apart = torch.linspace(-_NUDGE, _NUDGE, num_experts, dtype=bias.dtype, device=bias.device)
    for step in _STEPS:
        gini = load_gini(loads)
        moved = torch.where(gini > 0, balancing_step(bias, loads, step, target), bias + apart)
        bias = torch.where(outside & ~_within(gini, target, _INNER), moved, bias)
        loads = _of_all_processes(_own_loads(looked_at, bias, top_k)) + before
    return bias


def _some(logits: Tensor, top_k: int) -> Tensor:
    """(n, E) of the tokens' logits (T, E): all of them, or a sample from everywhere.

    Strides of a large prime, modulo T, sample all positions of a row equally; regular strides could
    meet only the first token of each row where the rows are equally long.
    """
    num_tokens, num_experts = logits.shape
    wanted = max(_TOKENS_LOOKED_AT, _SLOTS_LOOKED_AT * num_experts // top_k)
    if num_tokens <= wanted:
        return logits
    return logits[torch.arange(wanted, device=logits.device) * _SPREADING % num_tokens]


def _own_loads(logits: Tensor, expert_bias: Tensor, top_k: int) -> Tensor:
    """(E,) int64 slots of each expert, in this process."""
    chosen = (logits + expert_bias).topk(top_k, dim=-1).indices.flatten()
    loads = torch.zeros(len(expert_bias), dtype=torch.int64, device=logits.device)
    return loads.scatter_add_(0, chosen, torch.ones_like(chosen))


def _of_all_processes(loads: Tensor) -> Tensor:
    """All-reduce (..., E) int64, in place, to the sum over all processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(loads)
    return loads


def _within(gini: Tensor, target: float, band: tuple[float, float]) -> Tensor:
    return (gini >= band[0] * target) & (gini <= band[1] * target)
