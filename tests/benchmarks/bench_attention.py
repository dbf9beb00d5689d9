"""HSTU attention alone, forward and backward: the fast path against dense PyTorch.

    python -m tests.benchmarks.bench_attention --threads 1

Prints processor milliseconds of each, the fastest of interleaved rounds, so that a busy neighbour
slows down both alike, and the rate at which the triangle's products are done (6 of them, without
those computed again) beside that of a large matrix product on the same core.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.network.attention import hstu_attention
from model.network.attention_plan import plan_attention
from model.network.backend import Backend, use_backend

NUM_BUCKETS = 64
SHAPES = {  # lengths, heads, size of a head
    "32 rows of 101": ([101] * 32, 8, 32),
    "2 rows of 1024": ([1024] * 2, 8, 32),
    "512 rows of about 8, at most 50": (None, 4, 16),
}


def short_lengths(generator: torch.Generator) -> list[int]:
    """Lengths like those of the Amazon data."""
    drawn = 2 + torch.empty(512).exponential_(1 / 6, generator=generator)
    return drawn.long().clamp(max=50).tolist()


def fastest(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Processor seconds of each call in its fastest round, after one to warm up."""
    best = [float("inf")] * len(calls)
    for turn in range(rounds + 1):
        for at, call in enumerate(calls):
            start = time.process_time()
            call()
            if turn:
                best[at] = min(best[at], time.process_time() - start)
    return best


def sgemm_rate(rounds: int = 10, size: int = 1024) -> float:
    """Operations per processor second of a large matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / fastest([lambda: a @ b], rounds)[0]


def attention_step(backend: Backend, lengths: list[int], heads: int, size: int):
    """A call that runs attention forward and backward in this way."""
    generator = torch.Generator().manual_seed(0)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = int(offsets[-1])
    timestamps = torch.randint(0, 10**8, (tokens,), generator=generator).sort().values

    def leaf(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    q, k, v = (leaf(tokens, heads, size) for _ in range(3))
    biases = leaf(max(lengths), heads), leaf(NUM_BUCKETS, heads)
    slope = torch.randn(tokens, heads, size, generator=generator)
    plan = plan_attention(offsets, timestamps, NUM_BUCKETS)

    def step() -> None:
        with use_backend(backend):
            out = hstu_attention(q, k, v, plan, *biases, scale=size**-0.5)
        torch.autograd.grad(out, (q, k, v, *biases), slope)

    return step


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rate = sgemm_rate()
    print(f"sgemm: {rate / 1e9:.0f} GFLOP per processor second, {given.threads} thread(s)")
    for name, (fixed, heads, size) in SHAPES.items():
        lengths = fixed or short_lengths(torch.Generator().manual_seed(0))
        steps = [attention_step(way, lengths, heads, size) for way in ("numba", "reference")]
        fast, dense = fastest(steps, given.rounds)
        operations = sum(length * (length + 1) // 2 for length in lengths) * heads * size * 2 * 6
        print(
            f"{name:32s} fast {fast * 1e3:7.1f} ms, dense {dense * 1e3:7.1f} ms "
            f"({dense / fast:.1f} x); {operations / fast / rate:.0%} of sgemm"
        )


if __name__ == "__main__":
    main()
