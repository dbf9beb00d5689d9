"""Mixture of experts, forward and backward: against a loop over experts and a dense layer.

    python -m tests.benchmarks.bench_moe --batch 32 --threads 2

Prints tokens per second and ratios, and the same for the grouped products. Both loops, in PyTorch's
own operations, have a boolean mask per expert: one slices the fused weights of the published layer,
the other, kinder to itself, holds a module for every expert. The dense layer is a SwiGLU of the
same active size: hidden = (top_k + shared) * hidden_dim. Rounds are interleaved and the fastest
counts, in seconds of the processor where there is no GPU, so that a busy neighbour slows down all
alike.

No loop can be beaten by more than the products cost: the dense layer has them all and nothing else,
so that its ratio to a loop, which is printed, bounds that of any grouped form.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network import moe as moe_module
from model.network.backend import use_backend
from model.network.experts import grouped_experts, routed_experts
from model.network.moe import SparseMoE, SwiGLU
from model.network.routing import choose, gate_logits, gate_scores
from model.training.memory import keep_freed_memory

LENGTH = 101


class LoopMoE(nn.Module):
    """A loop over experts, which are slices of ``moe`` or modules of their own."""

    def __init__(self, moe: SparseMoE, *, fused: bool) -> None:
        super().__init__()
        self.moe = moe
        dim, hidden = moe.w2.shape[1:]
        self.experts = None if fused else nn.ModuleList(SwiGLU(dim, hidden) for _ in moe.gate)

    def _expert(self, x: Tensor, expert: int) -> Tensor:
        if self.experts is not None:
            return self.experts[expert](x)
        gate, up = F.linear(x, self.moe.w1[expert]).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, self.moe.w2[expert])

    def forward(self, x: Tensor) -> Tensor:
        """(T, dim) -> (T, dim)."""
        logits = gate_logits(x, self.moe.gate)
        scores = gate_scores(logits, self.moe.gate_kind)
        chosen, weights = choose(logits, scores, self.moe.expert_bias, self.moe.top_k)
        out = torch.zeros_like(x)
        for expert in range(len(self.moe.gate)):
            mask = chosen == expert
            here = mask.any(dim=1)
            weight = (weights * mask).sum(dim=1)[here, None]
            out[here] += weight.to(x.dtype) * self._expert(x[here], expert)
        return out if self.moe.shared is None else out + self.moe.shared(x)


def seconds(layer: nn.Module, call: Callable[[], Tensor]) -> float:
    """Of one forward and backward pass, the gradients being made anew."""
    for parameter in layer.parameters():
        parameter.grad = None
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    call().sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32, help=f"sequences of {LENGTH} tokens")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--top-k", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        moe = SparseMoE(given.dim, given.dim, given.experts, given.top_k, 1, "softmax", 0.01, 0.001)
        dense = SwiGLU(given.dim, (given.top_k + 1) * given.dim)
        fused, modules = LoopMoE(moe, fused=True), LoopMoE(moe, fused=False)
        rows = torch.arange(given.batch).repeat_interleave(LENGTH)
        x = torch.randn(len(rows), given.dim, requires_grad=True)

    def mixed() -> Tensor:
        out, loss = moe(x, rows, given.batch)
        return out + loss

    def grouped() -> Tensor:
        moe_module.routed_experts = grouped_experts
        try:
            return mixed()
        finally:
            moe_module.routed_experts = routed_experts

    def in_pytorch(layer: nn.Module) -> Tensor:
        with use_backend("reference"):
            return layer(x)

    layers = {
        "dense": (dense, lambda: dense(x)),
        "experts": (moe, mixed),
        "experts, grouped_mm": (moe, grouped),
        "loop, fused weights": (fused, lambda: in_pytorch(fused)),
        "loop, modules": (modules, lambda: in_pytorch(modules)),
    }
    best = dict.fromkeys(layers, float("inf"))
    low = torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")
    for _ in range(given.rounds):
        for name, layer in layers.items():
            with low:
                best[name] = min(best[name], seconds(*layer))
    moe.end_step()
    print(
        f"{device}, {given.threads} thread(s), {len(rows):,} tokens x {given.dim}, {given.experts} "
        f"experts, top {given.top_k}, 1 shared, Gini of the loads {moe.gini():.2f}"
    )
    for name, took in best.items():
        print(f"{name:20s} {len(rows) / took:12,.0f} tokens/s {1000 * took:8.1f} ms")
    print(f"experts / dense: {best['experts'] / best['dense']:.2f} (aim: <= 1.3)")
    print(f"fused loop / experts: {best['loop, fused weights'] / best['experts']:.2f} (aim: >= 3)")
    print(f"modules loop / experts: {best['loop, modules'] / best['experts']:.2f}")
    print(f"modules loop / dense: {best['loop, modules'] / best['dense']:.2f} (no form has more)")


if __name__ == "__main__":
    main()
