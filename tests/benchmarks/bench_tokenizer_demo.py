"""Real vectors: the public TencentGR demo's modality 81, from its files to tables 1 and 2.

    python -m tests.benchmarks.bench_tokenizer_demo            # from the root of the repository
    python -m tests.benchmarks.bench_tokenizer_demo --method rq_vae

Runs what ``onepiece tokenize 81 --params params/tencentgr_demo.yaml`` runs, in a temporary data
folder, and prints its tables and its time beside the minute that was asked for. Many items of these
files share their vector exactly; how many is printed, whether all get an ID of their own, and
whether the same is made a second time. Says so and does nothing where the files are absent.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from model.dataset.modality_embeddings import ModalityEmbedding
from model.params import CodebookParams
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.tokenize import tokenize
from orchestration.tokenization import METHODS, as_text, tokenize_sources
from orchestration.workspace import ROOT, open_workspace

MODALITY = "81"
LIMIT_SECONDS = 60  # what the project was asked to keep to
PARAMS_FILE = ROOT / "params" / "tencentgr_demo.yaml"


def codes_twice(
    vectors: ItemVectors, params: CodebookParams, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(N, L) int32 codes after re-assignment, of two runs."""
    one, other = (tokenize(vectors, params, seed).final.codes for _ in range(2))
    return one, other


def measure(params_file: Path, data: Path, method: str) -> None:
    """Print tables, time and what becomes of items that share their vector."""
    workspace = open_workspace(params_file, data)
    start = time.perf_counter()
    found = tokenize_sources(workspace, [MODALITY], [method])
    took = time.perf_counter() - start
    print(as_text(found))
    print(f"\n{took:.1f} s, {took / LIMIT_SECONDS:.2f} of {LIMIT_SECONDS} s")
    embedding = ModalityEmbedding.load(workspace.folder("modality_embeddings", MODALITY))
    vectors = ItemVectors.of_modality(embedding)
    params = workspace.params.codebook.model_copy(update={"method": method})
    one, other = codes_twice(vectors, params, workspace.params.seed)
    distinct = len(np.unique(one, axis=0))
    covered = found["coverage"][MODALITY]
    print(
        f"{covered['duplicate_rate']:.1%} of {covered['covered']:,} items share their vector, as "
        "stored in float16, with another"
    )
    print(f"distinct semantic IDs: {distinct:,} of {len(one):,} items")
    print(f"a second run gives the same codes: {np.array_equal(one, other)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=PARAMS_FILE)
    parser.add_argument("--method", choices=METHODS, default="residual_kmeans")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        source = Path(open_workspace(given.params, data).params.raw_data.source)
        if not source.is_dir():
            print(f"{source}: no such folder; the demo's files are needed, nothing was measured")
            return
        measure(given.params, data, given.method)


if __name__ == "__main__":
    main()
