"""The balance of the experts' loads: how unequal they are, and the bias that steers them.

Two means share the bias. ``balancing_step`` moves it a little after every optimiser step, by the
loads of that step. ``held_bias`` looks before a batch is routed: a gate can move faster than such
steps follow, in the first dozen of a training with a short warm-up above all, and a batch that
would leave the band is given a bias that fits it. Nothing here waits for a GPU.
"""

import torch
from torch import Tensor, distributed

from model.network.routing import TINY

# Where the bias holds the Gini of the loads: the geometric middle of 0.05 (experts that may not
# specialise) and 0.4 (on the way to a collapse), so that noise has as far to go to either.
TARGET_GINI = 0.15

# In targets. A batch that would leave the outer band, a little narrower than 0.05 to 0.4, is
# brought into the inner one: not at every step again. The first of the steps are small, so that the
# bias moves no further than it has to (one needless move of a whole logit, early in a training of a
# thousand steps, cost a twentieth of the score); the last are small to end within.
_OUTER = (0.4, 2.5)
_INNER = (0.5, 2.0)
_STEPS = (*(0.1 * 1.4**i for i in range(9)), *(1.5 * 0.7**i for i in range(9)))  # of a logit
_FEWEST = 8  # slots per expert; the loads of fewer are chance
# What is looked at of a process's batch, whichever are more tokens; their loads speak for all.
_TOKENS_LOOKED_AT = 16_384
_SLOTS_LOOKED_AT = 64  # per expert
_SPREADING = 2_654_435_761  # a prime far above any number of tokens
_NUDGE = 0.1  # of a logit, where all loads are equal and say nothing of where to go


def load_gini(loads: Tensor) -> Tensor:
    """(E,) int64 -> 0-d float32: 0 where all are equal or none, towards 1 where one has all."""
    ascending = loads.sort().values.to(torch.float32)
    n = len(loads)
    places = torch.arange(1, n + 1, device=loads.device, dtype=torch.float32)
    total = ascending.sum().clamp(min=1.0)
    return ((2 * places - n - 1) * ascending).sum() / (n * total)


def reachable_target(num_experts: int, top_k: int) -> float:
    """``TARGET_GINI``, or half the largest Gini there can be, which idle experts would make.

    That is 1 - top_k / num_experts: where nearly all experts answer every token, a bias on its way
    to a larger one would starve the others for good.
    """
    return min(TARGET_GINI, (1.0 - top_k / num_experts) / 2)


def balancing_step(expert_bias: Tensor, loads: Tensor, step: float, target: float) -> Tensor:
    """The next bias, of mean zero: the loads' inequality moves towards the target.

    The wanted loads are the present ones with all deviations from the mean scaled alike so that
    their Gini is the target; who is busy is left to the gate. The published rule, a constant step
    by the sign of the deviation, is too slow for a gate that learns fast at the start, and in the
    end makes all experts equally busy. Without the centring the bias drifts (reference: 4.4).

    Args:
        expert_bias: (E,) float32.
        loads: (E,) int64, slots of each expert since the last step.
        step: the largest move, of an expert whose load is off by the mean load or more.
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
    """The bias, or one that keeps the loads of a step in the band where the present would not.

    The loads are those of the batches of all processes, which must call it alike, and of the
    step's micro-batches before this one: of such that favour different experts each may be in the
    band where all together are too equal. A bias of E numbers tells a token nothing of the others
    of its batch.

    Args:
        logits: (T, E).
        expert_bias: (E,) float32.
        top_k: experts per token.
        earlier: (E,) int64 loads of this process's micro-batches before; they are not changed.

    Returns:
        (E,) float32: the bias as it is where the loads stay in the band, or say too little.
    """
    num_experts = len(expert_bias)
    looked_at = _some(logits, top_k)
    target = reachable_target(num_experts, top_k)
    # The earlier ones were counted in full, in processes without a token for this one too.
    share = len(looked_at) / len(logits) if len(logits) else 1.0
    own = _own_loads(looked_at, expert_bias, top_k)
    loads, before = _of_all_processes(torch.stack([own, (earlier * share).long()]))
    enough = loads.sum() >= _FEWEST * num_experts
    loads = loads + before
    outside = ~_within(load_gini(loads), target, _OUTER) & enough
    # The CPU has the answer already; a GPU would have to be waited for.
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
    """(n, E) of the tokens' logits (T, E): all of them, or tokens from everywhere.

    Steps of a prime, round and round, meet every place of a row alike: even ones would see the
    first token of each row alone where the rows are equally long.
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
    """(..., E) int64, changed in place to the sum over all processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(loads)
    return loads


def _within(gini: Tensor, target: float, band: tuple[float, float]) -> Tensor:
    return (gini >= band[0] * target) & (gini <= band[1] * target)
