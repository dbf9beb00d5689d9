"""What orchestration costs: `dvc repro` of a whole tiny world against the library's own functions.

    python -m tests.benchmarks.bench_orchestration

Both begin with nothing made but compiled kernels, each in processes of its own, imports included;
all artefacts are made, hashed, checked, recorded and shown by the one, and only made and saved by
the other. Prints both times and the bound: twice the direct time plus twenty seconds. Exit code 1
beyond it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.orchestration.command import ENVIRONMENT
from tests.orchestration.tiny_repository import DVC, make_tiny_repository

FACTOR, ALLOWANCE_SECONDS = 2.0, 20.0


def make_directly(params_file: Path, data: Path) -> None:
    """Call the library from the raw files to the submission, with no other tool around it."""
    import torch

    from model.dataset.coverage import measure_coverage
    from model.dataset.interactions import Interactions
    from model.dataset.item_features import ItemFeatureStore
    from model.dataset.item_statistics import compute_item_statistics
    from model.dataset.modality_embeddings import read_modality_embedding
    from model.dataset.raw_data import make_raw_data
    from model.dataset.readers import read_interactions
    from model.inference.embedding import embed_items
    from model.inference.evaluation import evaluate
    from model.inference.inputs import InferenceInputs
    from model.inference.submission import make_submission
    from model.network.checkpoint import Checkpoint
    from model.params import Params
    from model.tokenizer.build import build_codebook

    params, device = Params.load(params_file), torch.device("cpu")
    raw = make_raw_data(params.raw_data, params.seed, data / "raw_data")
    read_interactions(raw, params.interactions, params.seed).save(data / "interactions")
    interactions = Interactions.load(data / "interactions")
    statistics = compute_item_statistics(interactions, params.item_statistics, scratch=data)
    statistics.save(data / "item_statistics")
    section = params.modality_embeddings
    embeddings = {
        name: read_modality_embedding(
            raw, interactions, name, section, data / "modality_embeddings" / name
        )
        for name in section.modalities
    }
    measured = measure_coverage(
        interactions,
        statistics,
        list(embeddings.values()),
        params.coverage_report,
        scratch=data,
    )
    measured.save(data / "coverage_report")
    _train(params, data, "encoder_checkpoint")
    encoder = Checkpoint.load(data / "encoder_checkpoint")
    features = ItemFeatureStore(interactions, statistics, embeddings, device)
    fused = embed_items(encoder, features, device, scratch=data)
    fused.save(data / "fused_embeddings")
    codebook = build_codebook(
        fused, list(embeddings.values()), interactions, params.codebook, params.seed
    )
    codebook.save(data / "codebook")
    _train(params, data, "recommender_checkpoint")
    model = Checkpoint.load(data / "recommender_checkpoint")
    inputs = InferenceInputs(model, codebook, interactions, statistics, embeddings)
    report = evaluate(inputs, params, device)
    report.save(data / "evaluation_report")
    made = make_submission(
        inputs,
        params.cascade,
        device,
        beam_weight=report.beam_weight,
        shard_folder=data / ".resume" / "submission",
    )
    made.save(data / "submission")


def _train(params, data: Path, asset: str) -> None:
    from model.training.distributed import join_world
    from model.training.inputs import TrainingInputs
    from model.training.task import train

    inputs = TrainingInputs.load(data, params, asset)
    state = data / ".resume" / asset
    train(inputs, params, asset, join_world(), state_folder=state, out=data / asset)


def main() -> int:
    """Time both and hold them against the bound."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--directly", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.directly:
        make_directly(*given.directly)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = make_tiny_repository(Path(folder))
        here = [sys.executable, "-m", "tests.benchmarks.bench_orchestration"]
        directly = [*here, "--directly", root / "params.yaml"]
        _seconds([*directly, root / "warm"], root)  # compiles what both would
        direct = _seconds([*directly, root / "direct"], root)
        orchestrated = _seconds([DVC, "repro"], root)
    bound = FACTOR * direct + ALLOWANCE_SECONDS
    print(f"library functions  {direct:6.1f} s")
    print(f"dvc repro          {orchestrated:6.1f} s   {orchestrated / direct:.2f} times")
    print(f"bound              {bound:6.1f} s   {FACTOR:g} times and {ALLOWANCE_SECONDS:g} s")
    return 0 if orchestrated <= bound else 1


def _seconds(command: list, root: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=root, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
