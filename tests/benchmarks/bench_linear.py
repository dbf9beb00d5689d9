"""One linear layer's three products on a CPU: our tiles against PyTorch.

    python -m tests.benchmarks.bench_linear --threads 1 [--tokens 3232]

Prints GFLOP per processor second of forward, and of backward (both gradients and the bias's), and
the ratio of their sum's time. Rounds are interleaved and the fastest counts, so that a busy
neighbour slows down both alike.
"""

import argparse

import torch

from model.network.backend import Backend, use_backend
from model.network.linear import Linear
from model.training.memory import keep_freed_memory
from tests.benchmarks.bench_attention import fastest

SHAPES = ((128, 128), (128, 512), (256, 256), (256, 1024), (512, 512), (512, 2048))
WAYS: tuple[Backend, Backend] = ("numba", "reference")


def calls(size_in: int, size_out: int, tokens: int, way: Backend):
    """Forward alone, and forward with backward."""
    layer, x = Linear(size_in, size_out), torch.randn(tokens, size_in, requires_grad=True)
    slope = torch.randn(tokens, size_out)

    def forward() -> None:
        with use_backend(way), torch.no_grad():
            layer(x)

    def both() -> None:
        with use_backend(way):
            out = layer(x)
        torch.autograd.grad(out, (x, layer.weight, layer.bias), slope)

    return forward, both


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=3232)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    print(f"{given.tokens} tokens, {given.threads} thread(s), GFLOP per processor second")
    for shape in SHAPES:
        made = [call for way in WAYS for call in calls(*shape, given.tokens, way)]
        forward, both, slow_forward, slow_both = fastest(made, given.rounds)
        work = 2e-9 * given.tokens * shape[0] * shape[1]
        rates = [
            f"forward {work / one:4.0f}, backward {2 * work / (two - one):4.0f}"
            for one, two in ((forward, both), (slow_forward, slow_both))
        ]
        print(f"{shape[0]:4d} -> {shape[1]:4d}  tiles {rates[0]}; PyTorch {rates[1]}", end="")
        print(f"; ratio to PyTorch {slow_both / both:.2f}")


if __name__ == "__main__":
    main()
