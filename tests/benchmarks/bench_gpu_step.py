"""A training step's compute on a GPU in bf16: HSTU layers, InfoNCE and two semantic ID heads.

    python -m tests.benchmarks.bench_gpu_step
    python -m tests.benchmarks.bench_gpu_step --device cpu --dim 64 --layers 2 --batch 4 --codes 256

Beside it the oracle: the same mathematics with dense attention and all logits at once. Prints
tokens per second and their ratio, the share of the measured rate of a large bf16 product (MFU:
operations of the layers, the attention's triangle and the losses, nothing computed again, over
time), and what InfoNCE takes beyond its arguments and gradients at ``--positions`` positions and as
many targets. Rounds are interleaved and the fastest counts.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.attention_plan import plan_attention
from model.network.backend import Backend, backend_for, use_backend
from model.network.hstu import NUM_TIME_BUCKETS
from model.network.losses import linear_cross_entropy
from tests.benchmarks.bench_step import Stack, batch, highest_resident
from tests.benchmarks.bench_step import operations as layer_operations

LEVELS = 2
TEMPERATURE = 0.05

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def full_cross_entropy(x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The oracle's: float32 logits of all rows at once."""
    with torch.autocast(x.device.type, enabled=False):
        return F.cross_entropy(x.float() @ weight.float().T, labels)


def chunked_cross_entropy(x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The trainer's."""
    return linear_cross_entropy(x, weight, None, labels, torch.ones(len(x), device=x.device)) / len(
        x
    )


def training_step(given: argparse.Namespace, stack: Stack, way: Backend, loss: Loss):
    """A call that runs layers and losses forward and backward in this way."""
    device = torch.device(given.device)
    x, offsets, timestamps = (one.to(device) for one in batch(given.batch, given.length, given.dim))
    generator = torch.Generator().manual_seed(1)
    heads = [torch.randn(given.codes, given.dim, generator=generator) for _ in range(LEVELS)]
    labels = [torch.randint(0, given.codes, (len(x),), generator=generator) for _ in heads]
    heads = [head.to(device).requires_grad_() for head in heads]
    labels = [one.to(device) for one in labels]
    targets = torch.randn(len(x), given.dim, generator=generator).to(device).requires_grad_()
    places = torch.arange(len(x), device=device)

    def step() -> None:
        stack.zero_grad()
        for leaf in (targets, *heads):
            leaf.grad = None
        with use_backend(way), torch.autocast(device.type, dtype=torch.bfloat16):
            hidden = stack(x, plan_attention(offsets, timestamps, NUM_TIME_BUCKETS))
            queries = F.normalize(hidden.float(), dim=1) / TEMPERATURE
            total = loss(queries, F.normalize(targets, dim=1), places)
            for head, codes in zip(heads, labels, strict=True):
                total = total + loss(hidden, head, codes)
            total.backward()

    return step


def operations(given: argparse.Namespace) -> int:
    """Multiplications and additions of one step: each product forward, and two for each back."""
    tokens = given.batch * given.length
    classes = tokens + LEVELS * given.codes
    return layer_operations(given) + 2 * 3 * tokens * classes * given.dim


def fastest(
    calls: Sequence[Callable[[], object]], rounds: int, device: torch.device
) -> list[float]:
    """Seconds of each call in its fastest round, after one to warm up."""
    best = [float("inf")] * len(calls)
    for turn in range(rounds + 1):
        for at, call in enumerate(calls):
            _wait(device)
            start = time.perf_counter()
            call()
            _wait(device)
            if turn:
                best[at] = min(best[at], time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(device: torch.device, size: int, rounds: int) -> float:
    """Operations per second of a large bf16 matrix product."""
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    return 2 * size**3 / fastest([lambda: a @ b], rounds, device)[0]


def infonce_extra_bytes(positions: int, dim: int, device: torch.device) -> int:
    """Peak beyond arguments and gradients; on a CPU of resident memory, which only ever grows."""
    x, columns = (torch.randn(positions, dim, device=device, requires_grad=True) for _ in range(2))
    labels = torch.arange(positions, device=device)
    for leaf in (x, columns):
        leaf.grad = torch.zeros_like(leaf)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = highest_resident()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        chunked_cross_entropy(x, columns, labels).backward()
    _wait(device)
    after = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else highest_resident()
    return after - before


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"dim": 512, "heads": 8, "layers": 24, "length": 97, "batch": 512, "codes": 16_384}
    for name, value in {**sizes, "positions": 49_000, "product": 8192, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU; --device cpu and smaller sizes show what is printed")
    extra = infonce_extra_bytes(given.positions, given.dim, device)
    if device.type == "cuda":  # the oracle's losses round their factors as the trainer's do
        torch.set_float32_matmul_precision("high")
    pairs = f"{given.positions:,} x {given.positions:,}"
    print(f"InfoNCE, {pairs}: {extra / 2**20:,.0f} MiB extra (asked: 2,048)")
    stack = Stack(given.dim, given.heads, given.layers, given.length).to(device)
    own = backend_for(torch.empty(0, device=device))
    steps = [
        training_step(given, stack, own, chunked_cross_entropy),
        training_step(given, stack, "reference", full_cross_entropy),
    ]
    rate = product_rate(device, given.product, given.rounds)
    ours, oracle = fastest(steps, given.rounds, device)
    print(f"bf16 product of {given.product} squared: {rate / 1e12:.1f} TFLOP/s")
    for name, seconds in ((own, ours), ("oracle", oracle)):
        tokens = given.batch * given.length / seconds
        share = operations(given) / seconds / rate
        print(f"{name:10s} {tokens:12,.0f} tokens/s, MFU {share:.0%}")
    print(f"ratio to the oracle {oracle / ours:.2f} (asked: 5)")


if __name__ == "__main__":
    main()
