"""The whole tokenizer on synthetic collaborative vectors: time, memory and conflicts.

    python -m tests.benchmarks.bench_tokenizer_scale --items 19099627 --size 16384   # the paper's
    python -m tests.benchmarks.bench_tokenizer_scale --items 1000000 --size 3750     # as crowded
    python -m tests.benchmarks.bench_tokenizer_scale --items 10000 100000 1000000 10000000 \\
        --sample 10000 --plot scale.png   # time against items, with codebooks of as many vectors

Vectors (64 wide, float32) are written to a temporary file first and read from its memory map. The
time is of tokenising and of the report, the peak of either; a small run before them compiles.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.lib import format as npy

from assets.peak_memory import peak_memory_bytes, reset_peak_memory
from model.params import CodebookParams, Params
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.report import report_row
from model.tokenizer.tokenize import tokenize
from tests.benchmarks.bench_tokenizer_clustering import clustered_vectors

WIDTH, ROWS = 64, 1_000_000
PAPER_BEFORE, PAPER_AFTER = 0.7546, 0.0786  # conflict rates of its table 2
PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"


def write_vectors(file: Path, num_items: int) -> np.ndarray:
    """Write them piece by piece; the memory map."""
    matrix = npy.open_memmap(file, mode="w+", dtype=np.float32, shape=(num_items, WIDTH))
    for part, start in enumerate(range(0, num_items, ROWS)):
        count = min(ROWS, num_items - start)
        matrix[start : start + count] = clustered_vectors(count, WIDTH, seed=part)
    matrix.flush()
    return np.load(file, mmap_mode="r")


def tokenize_and_report(num_items: int, params: CodebookParams) -> tuple[dict[str, Any], float]:
    """The report's row of made-up vectors, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = write_vectors(Path(folder) / "matrix.npy", num_items)
        reset_peak_memory()
        start = time.perf_counter()
        item_ids = np.arange(1, num_items + 1, dtype=np.int32)
        vectors = ItemVectors.of("collaborative", item_ids, matrix)
        row = report_row(tokenize(vectors, params, 0))
        return row, time.perf_counter() - start


def slope(items: Sequence[int], seconds: Sequence[float]) -> float:
    """Of log seconds over log items, by least squares: 1 is linear."""
    return float(np.polyfit(np.log(items), np.log(seconds), 1)[0])


def plot(items: Sequence[int], seconds: Sequence[float], what: str, file: Path) -> None:
    """Seconds of something over items, on logarithmic scales."""
    figure = Figure(figsize=(5, 3.6))
    axes = figure.subplots()
    axes.loglog(items, seconds, "o-")
    axes.set_xlabel("items")
    axes.set_ylabel(f"seconds of {what}")
    figure.tight_layout()
    figure.savefig(file)


def _print(row: dict[str, Any], took: float, size: int) -> None:
    peak = peak_memory_bytes() / 2**30
    before, after = (row[stage]["conflict_rate"] for stage in ("before", "after"))
    print(f"{row['items']:,} items x {WIDTH}, 2 x {size:,}: {took:.1f} s, peak {peak:.2f} GiB")
    print(
        f"conflict rate {before:.2%} -> {after:.2%}, {before / PAPER_BEFORE:.2f} of the paper's "
        f"{PAPER_BEFORE:.2%} and {after / PAPER_AFTER:.2f} of its {PAPER_AFTER:.2%}",
        end=", ",
    )
    distances = (row[stage]["mean_distance"] for stage in ("before", "after"))
    print("mean distance {:.4f} -> {:.4f}".format(*distances))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--size", type=int, default=3750)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--sample", type=int, default=200_000)
    parser.add_argument("--method", default="residual_kmeans")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="of two or more --items")
    given = parser.parse_args()
    if given.plot and len(set(given.items)) < 2:
        parser.error("--plot needs two or more --items")
    values = Params.load(PARAMS_FILE).codebook.model_dump() | {
        "method": given.method,
        "sizes": [given.size] * 2,
        "iterations": given.iterations,
        "training_sample": given.sample,
    }
    params = CodebookParams.model_validate(values)
    tokenize_and_report(min(1000, *given.items), params)  # compiles
    seconds = []
    for num_items in given.items:
        row, took = tokenize_and_report(num_items, params)
        _print(row, took, given.size)
        seconds.append(took)
    if given.plot:
        plot(given.items, seconds, "tokenising and reporting", given.plot)
        print(f"seconds grow with items to the power of {slope(given.items, seconds):.2f}")


if __name__ == "__main__":
    main()
