"""The whole tokenizer on synthetic collaborative vectors: time, memory and conflicts.

    python -m tests.benchmarks.bench_tokenizer_scale --items 19099627 --size 16384   # the paper's
    python -m tests.benchmarks.bench_tokenizer_scale --items 1000000 --size 3750     # as crowded

Vectors (64 wide, float32) are written to a temporary file first and read from its memory map. The
paper reports 75.46 % conflicts before and 7.86 % after re-assignment.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from model.params import CodebookParams, Params
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.report import report_row
from model.tokenizer.tokenize import tokenize
from tests.benchmarks.bench_tokenizer_clustering import clustered_vectors

WIDTH, ROWS = 64, 1_000_000
PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"


def write_vectors(file: Path, num_items: int) -> np.ndarray:
    """Write them piece by piece; the memory map."""
    matrix = npy.open_memmap(file, mode="w+", dtype=np.float32, shape=(num_items, WIDTH))
    for part, start in enumerate(range(0, num_items, ROWS)):
        count = min(ROWS, num_items - start)
        matrix[start : start + count] = clustered_vectors(count, WIDTH, seed=part)
    matrix.flush()
    return np.load(file, mmap_mode="r")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=3750)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--sample", type=int, default=200_000)
    parser.add_argument("--method", default="residual_kmeans")
    given = parser.parse_args()
    values = Params.load(PARAMS_FILE).codebook.model_dump() | {
        "method": given.method,
        "sizes": [given.size] * 2,
        "iterations": given.iterations,
        "training_sample": given.sample,
    }
    with tempfile.TemporaryDirectory() as folder:
        matrix = write_vectors(Path(folder) / "matrix.npy", given.items)
        start = time.perf_counter()
        item_ids = np.arange(1, given.items + 1, dtype=np.int32)
        vectors = ItemVectors.of("collaborative", item_ids, matrix)
        row = report_row(tokenize(vectors, CodebookParams.model_validate(values), 0))
        took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    before, after = row["before"], row["after"]
    print(f"{given.items:,} items x {WIDTH}, 2 x {given.size:,}: {took:.0f} s, peak {peak:.2f} GiB")
    print(f"conflict rate {before['conflict_rate']:.2%} -> {after['conflict_rate']:.2%}", end=", ")
    print(f"mean distance {before['mean_distance']:.4f} -> {after['mean_distance']:.4f}")


if __name__ == "__main__":
    main()
