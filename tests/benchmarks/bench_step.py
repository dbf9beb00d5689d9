"""A stack of HSTU layers, forward and backward: fast attention against dense PyTorch.

    python -m tests.benchmarks.bench_step [--threads 1] [--compile]
    python -m tests.benchmarks.bench_step --memory
    python -m tests.benchmarks.bench_step --plot memory.png

The first prints tokens per processor second and the share of the measured sgemm rate: operations
of the linear layers and of the attention's triangle, nothing computed again, over time. Rounds
are interleaved and the fastest counts, so that a busy neighbour slows down both alike; with
``--compile`` the dense one runs through torch.compile as well, which needs a C++ compiler. The
second prints the peak of resident memory above that of the idle process, in a process of its own
each. The third prints and draws, against the length of a row, what a row leaves for backward in a
layer and in the plan that all layers share, and the peak of the fast way with two layers and eight
rows.
"""

import argparse
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from model.network.attention_plan import AttentionPlan, plan_attention
from model.network.backend import Backend, use_backend
from model.network.hstu import NUM_TIME_BUCKETS, HSTULayer
from model.params import Params
from model.training.memory import keep_freed_memory
from tests.benchmarks.bench_attention import fastest, sgemm_rate

WAYS: tuple[Backend, Backend] = ("numba", "reference")
LENGTHS = (64, 128, 256, 512, 1024, 2048)
PEAK_LAYERS, PEAK_ROWS = 2, 8


class Stack(nn.Module):
    """Layers as the network has them, without what follows the attention."""

    def __init__(self, dim: int, heads: int, layers: int, length: int) -> None:
        super().__init__()
        given = Params.load(Path("params.yaml")).network
        shape = {"dim": dim, "num_heads": heads, "max_length": length, "dropout": 0.0}
        biases = {"position_bias": True, "time_bias": True, "normalize_attention": True}
        dense = given.feed_forward.model_copy(update={"kind": "none"})
        work = {"zero_init_residual": False, "feed_forward": dense}
        params = given.model_copy(update={**shape, **biases, **work})
        torch.manual_seed(0)
        self.layers = nn.ModuleList(HSTULayer(params) for _ in range(layers))

    def forward(self, x: Tensor, plan: AttentionPlan) -> Tensor:
        """(T, dim) -> (T, dim)."""
        rows = torch.repeat_interleave(plan.offsets.diff())
        for layer in self.layers:
            x, _ = layer(x, plan, rows)
        return x


def batch(rows: int, length: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, offsets and timestamps of rows of equal length."""
    generator = torch.Generator().manual_seed(0)
    offsets = torch.arange(rows + 1) * length
    timestamps = torch.randint(0, 10**8, (rows * length,), generator=generator).sort().values
    return torch.randn(rows * length, dim, generator=generator), offsets, timestamps


def training_step(stack: nn.Module, way: Backend, rows: int, length: int, dim: int):
    """A call that plans a batch and runs it forward and backward in this way."""
    x, offsets, timestamps = batch(rows, length, dim)

    def step() -> None:
        stack.zero_grad()
        with use_backend(way):
            plan = plan_attention(offsets, timestamps, NUM_TIME_BUCKETS)
            stack(x.requires_grad_(), plan).square().mean().backward()

    return step


def operations(given: argparse.Namespace) -> int:
    """Multiplications and additions of one step: each product forward, and two for each back."""
    linear = given.batch * given.length * 5 * given.dim**2
    triangle = given.batch * given.length * (given.length + 1) // 2 * given.dim * 2
    return 2 * 3 * given.layers * (linear + triangle)


def print_rates(given: argparse.Namespace) -> None:
    """Tokens per processor second, and the share of sgemm."""
    stack = Stack(given.dim, given.heads, given.layers, given.length)
    ways: dict[str, tuple[nn.Module, Backend]] = {way: (stack, way) for way in WAYS}
    if given.compile:
        ways["compiled"] = (torch.compile(stack), "reference")
    steps: list[Callable[[], object]] = [
        training_step(module, way, given.batch, given.length, given.dim)
        for module, way in ways.values()
    ]
    before = sgemm_rate()
    times = fastest(steps, given.rounds)
    rate = max(before, sgemm_rate())
    print(f"sgemm {rate / 1e9:.0f} GFLOP per processor second, {given.threads} thread(s)")
    for way, seconds in zip(ways, times, strict=True):
        tokens = given.batch * given.length / seconds
        share = operations(given) / seconds / rate
        print(f"{way:10s} {tokens:7,.0f} tokens per processor second, {share:.0%} of sgemm")
    for way, seconds in zip(list(ways)[1:], times[1:], strict=True):
        print(f"ratio to {way} {seconds / times[0]:.2f}")


def print_memory(given: argparse.Namespace) -> None:
    """Peak memory of each way above the idle process."""
    peaks = {way: peak(given, way) for way in WAYS}
    for way, found in peaks.items():
        print(f"{way:10s} {found / 2**20:7,.0f} MiB above the idle process")
    ours, *others = peaks.items()
    for way, found in others:
        print(f"{ours[0]} / {way}: {ours[1] / found:.2f}")


def peak(given: argparse.Namespace, way: Backend) -> int:
    """Bytes of the highest resident memory above the idle process, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_measure_memory, args=(given, way, send))
    child.start()
    found = receive.recv()
    child.join()
    return found


def _measure_memory(given: argparse.Namespace, way: Backend, send) -> None:
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    small = Stack(given.dim, given.heads, 1, 8)
    training_step(small, way, 2, 8, given.dim)()  # libraries and compiled kernels are idle memory
    idle = highest_resident()
    stack = Stack(given.dim, given.heads, given.layers, given.length)
    step = training_step(stack, way, given.batch, given.length, given.dim)
    for _ in range(3):
        step()
    send.send(highest_resident() - idle)


def highest_resident() -> int:
    """Bytes, of this program alone: a process begins with the figure of the one that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "Linux tells this"
    return int(found[1]) * 1024


def saved_bytes(stack: Stack, way: Backend, length: int, dim: int) -> tuple[int, int]:
    """Bytes of the distinct tensors that one row leaves for backward, parameters aside.

    Returns:
        Those of the layers, and those of the plan, which holds them once for any number of layers.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in stack.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    x, offsets, timestamps = batch(1, length, dim)
    plan = plan_attention(offsets, timestamps, NUM_TIME_BUCKETS)
    with use_backend(way), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = stack(x.requires_grad_(), plan)
    del out
    held = [one.untyped_storage() for one in vars(plan).values() if isinstance(one, Tensor)]
    shared = {storage.data_ptr(): storage.nbytes() for storage in held}
    layers = sum(size for at, size in storages.items() if at not in shared)
    return layers, sum(shared.values())


def plot_memory(given: argparse.Namespace) -> None:
    """Saved for backward, and the peak, by length."""
    axes = (figure := Figure(figsize=(6, 5), layout="constrained")).subplots()
    for way in WAYS:
        found = []
        for length in LENGTHS:
            stack = Stack(given.dim, given.heads, 1, length)
            found.append(saved_bytes(stack, way, length, given.dim))
        parts = ("saved per row and layer", "saved per row, for all layers")
        for part, sizes in zip(parts, zip(*found, strict=True), strict=True):
            saved = [size / 2**20 for size in sizes]
            told = (f"{length}: {mib:.3g}" for length, mib in zip(LENGTHS, saved, strict=True))
            print(f"{way:10s} {part:30s}", *told)
            axes.plot(LENGTHS, saved, marker="o", label=f"{way}, {part}")
    shape = {"layers": PEAK_LAYERS, "batch": PEAK_ROWS}
    peaks = [
        peak(argparse.Namespace(**vars(given) | shape | {"length": length}), "numba") / 2**20
        for length in LENGTHS
    ]
    told = (f"{length}: {mib:.0f}" for length, mib in zip(LENGTHS, peaks, strict=True))
    print(f"{'peak':41s}", *told)
    axes.plot(
        LENGTHS, peaks, marker="o", label=f"numba, peak of {PEAK_ROWS} rows in {PEAK_LAYERS} layers"
    )
    axes.set(xscale="log", yscale="log", xlabel="length", ylabel="MiB")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(given.plot)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"dim": 256, "heads": 8, "layers": 8, "length": 101, "batch": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    if given.plot:
        plot_memory(given)
    elif given.memory:
        print_memory(given)
    else:
        print_rates(given)


if __name__ == "__main__":
    main()
