"""Public data: the whole pipeline by seed, beside rows that anyone can check.

``python -m tests.benchmarks.bench_public --params params/amazon_beauty.yaml --data DIR --seeds 3``
materialises the evaluation report once per seed under DIR (what is there is not made again) and
prints embedding-only and cascade with mean and spread; the co-occurrence counter; SASRec with full
cross-entropy, its width chosen on validation items; and the first seed and both baselines once more
on a copy of the data in which ties of each user are shuffled (assumed and drawn where the file has
places instead of times: ``shuffled_ties``).
Leave-one-out, ranking over the full catalogue, seen items masked.

``--validation-only`` prints validation figures instead and never ranks a test item: it is for
choosing parameters.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from model.artifact import read_json, write_json
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.network.checkpoint import Checkpoint
from model.params import Params
from tests.benchmarks import sasrec
from tests.benchmarks.shuffled_ties import shuffle_ties

CHECKPOINTS = ("encoder_checkpoint", "recommender_checkpoint")
PATHS = ("popularity", "cooccurrence", "embedding", "sid", "cascade")
SASREC_SETTINGS = [(64, 0.5), (128, 0.5)]  # width, dropout
Figures = dict[str, dict[str, float]]  # of each row


def materialize(params: Params, source: Path, seed: int, folder: Path, asset: str) -> None:
    """Run the pipeline in a folder of its own."""
    values = json.loads(params.model_dump_json())
    values["seed"] = seed
    values["raw_data"]["source"] = str(source)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "params.yaml"
    write_json(file, values)  # JSON is YAML
    command = [sys.executable, "-m", "orchestration", "materialize", asset]
    command += ["--params", str(file), "--data", str(folder / "data")]
    code = subprocess.run(command, check=False, stdout=sys.stderr).returncode
    if code:
        raise SystemExit(code)  # it has said why


def report_figures(folder: Path) -> Figures:
    """All paths of a materialised evaluation report."""
    found = read_json(folder / "data" / "evaluation_report" / "metrics.json")
    return {path: {name: found[path][name] for name in ("hr@10", "ndcg@10")} for path in PATHS}


def validation_figures(folder: Path) -> Figures:
    """The last validation of both trainings."""
    rows = {}
    for name in CHECKPOINTS:
        history = Checkpoint.load(folder / "data" / name).metadata["history"]
        measured = [row for row in history if row.get("ndcg@10") is not None]
        rows[name] = {key: measured[-1][key] for key in ("hr@10", "ndcg@10")}
    return rows


def baseline(folder: Path, seed: int, *, validation_only: bool) -> dict[str, float]:
    """SASRec on the split that a folder holds; the setting is chosen on validation items."""
    interactions = Interactions.load(folder / "data" / "interactions")
    counts = ItemStatistics.load(folder / "data" / "item_statistics").popularity
    trained = []
    for dim, dropout in SASREC_SETTINGS:
        one = sasrec.train(interactions, counts, dim, dropout, seed)
        print(
            f"SASRec width {dim}, dropout {dropout}: validation {_pair(one.validation)} "
            f"in {one.epochs} epochs",
            file=sys.stderr,
        )
        trained.append(one)
    best = max(trained, key=lambda one: one.validation["ndcg@10"])
    if validation_only:
        return best.validation
    return sasrec.evaluate(best.network, interactions, interactions.test_event, counts)


def _pair(figures: dict[str, float]) -> str:
    return f"{figures['hr@10']:.4f} / {figures['ndcg@10']:.4f}"


def _print_row(name: str, runs: list[dict[str, float]]) -> None:
    values = np.array([[run["hr@10"], run["ndcg@10"]] for run in runs])
    spread = values.std(axis=0, ddof=1) if len(runs) > 1 else np.full(2, np.nan)
    shown = [
        f"{mean:.4f}" + (f" ± {one:.4f}" if len(runs) > 1 else "")
        for mean, one in zip(values.mean(axis=0), spread, strict=True)
    ]
    each = ", ".join(_pair(run) for run in runs) if len(runs) > 1 else ""
    print(f"| {name} | {shown[0]} | {shown[1]} | {each} |", flush=True)


def main() -> None:
    """Print both tables, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation-only", action="store_true")
    given = parser.parse_args()
    params = Params.load(given.params)
    source = Path(params.raw_data.source)
    shuffled = given.data / "shuffled_ties"
    shuffle_ties(source, shuffled / "source", params.seed)
    tables = {"as delivered": (source, given.data, given.seeds)}
    tables["ties shuffled"] = (shuffled / "source", shuffled, 1)
    what = "validation" if given.validation_only else "test"
    for title, (raw, data, seeds) in tables.items():
        print(f"\n| {title}, {what} items | HR@10 | NDCG@10 | each seed |")
        print("| --- | --- | --- | --- |", flush=True)
        _print_table(params, raw, data, seeds, validation_only=given.validation_only)


def _print_table(
    params: Params, source: Path, data: Path, seeds: int, *, validation_only: bool
) -> None:
    asset = "recommender_checkpoint" if validation_only else "evaluation_report"
    measure = validation_figures if validation_only else report_figures
    runs: list[Figures] = []
    for seed in range(params.seed, params.seed + seeds):
        started = time.monotonic()
        folder = data / f"seed_{seed}"
        materialize(params, source, seed, folder, asset)
        runs.append(measure(folder))
        print(f"{folder}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    first = data / f"seed_{params.seed}"
    for row in runs[0]:
        counted = row in ("popularity", "cooccurrence")  # the same for every seed
        _print_row(row, [run[row] for run in runs[: 1 if counted else None]])
    found = baseline(first, params.seed, validation_only=validation_only)
    _print_row("SASRec, full cross-entropy", [found])


if __name__ == "__main__":
    main()
