"""What each part of the network is worth: one training per part that is left out.

    python -m tests.benchmarks.bench_ablation --params params.yaml --data DIR
        --only "history skip" time    # these parts alone; without a name none
        --layers 4 8                  # and the full network with so many layers, a row each
        --plot curves.png             # the full network and the one without experts

trains ``encoder_checkpoint`` anew for every row, from the artefacts in DIR (made by ``onepiece
materialize coverage_report``), and ranks the held-out test items of all users by embedding-only
search. A row takes ``--epochs`` (3) epochs: in one alone, what pays only when the item ids are
learned looks like a burden.

Prints the competition's score, users weighed by ``evaluation_report.action_weights``: of all
targets, of clicks, of conversions, and of items that training hardly met (those that it never met
do not compete); and over all layers, recorded steps and seeds the lowest and highest Gini of the
experts' loads. With ``--seeds`` above 1 it is the mean over seeds, and ± the standard error of the
difference from the full network, seed by seed. ``--plot`` draws the course of the first seed: the
Gini of every layer's loads, and loss and validation NDCG@10 beside those of the dense layers.
"""

import argparse
import copy
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from model.dataset.interactions import CLICK, CONVERSION
from model.metrics import HIT_RATE_SHARE, NDCG_SHARE
from model.params import Params
from model.pictures import write_png
from model.training import ENCODER
from model.training.distributed import join_world
from model.training.history import History
from model.training.inputs import TrainingInputs
from model.training.resume import StateFolder
from model.training.task import build_trainer
from model.training.trainer import Trainer
from tests.benchmarks.bench_moe_balance import HIGH, LOW

RARE = 50  # training events
SCORES = ("all", "clicks", "conversions", "rare")
FULL, DENSE = "nothing", "experts (dense, same active size)"
WITHOUT: dict[str, dict[str, Any]] = {
    FULL: {},
    "next action": {"network.features.next_action": False},
    "exposure mask": {"network.features.exposure_mask": False},
    "dual path": {"network.features.dual_path": False},
    "time": {
        "network.features.relative_time": False,
        "network.features.absolute_time": False,
        "network.time_bias": False,
    },
    "modalities": {"network.features.modalities": []},
    "logQ": {f"{ENCODER}.loss.logq": "none"},
    "all layers but one": {"network.num_layers": 1},
    DENSE: {"network.feed_forward.kind": "dense"},
    "history skip": {"network.history_skip": 0},
}


def changed(params: Params, changes: dict[str, Any]) -> Params:
    """The parameters with some dotted keys replaced."""
    values = copy.deepcopy(params.model_dump(mode="json"))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        section = values
        for key in path:
            section = section[key]
        section[last] = value
    if changes.get("network.feed_forward.kind") == "dense":
        chosen = values["network"]["feed_forward"]
        chosen["hidden_dim"] *= chosen["top_k"] + chosen["num_shared_experts"]
    return Params.model_validate(values)


def variants(only: list[str], layers: list[int], *, drawn: bool) -> dict[str, dict[str, Any]]:
    """Name -> changes of each row; the full network, that all are compared with, is the first.

    Args:
        only: names of ``WITHOUT``.
        layers: depths of further rows, of which nothing else is changed.
        drawn: whether a picture needs the network without experts too.
    """
    deep = {f"{FULL}, {number} layers": {"network.num_layers": number} for number in layers}
    return {name: WITHOUT[name] for name in [FULL, *only, *[DENSE] * drawn]} | deep


def measure(params: Params, data: Path) -> tuple[dict[str, float], History]:
    """Train the encoder and rank the test items of all users; figures, and the training's rows."""
    inputs = TrainingInputs.load(data, params, ENCODER)
    world = join_world()
    started = time.monotonic()
    trainer = build_trainer(inputs, params, ENCODER, world)
    with tempfile.TemporaryDirectory() as states:
        trainer.run(StateFolder(Path(states), "ablation"), lambda: False)
    seconds = time.monotonic() - started
    trainer.network.load_state_dict(trainer.final_weights())
    weights = params.evaluation_report.action_weights
    ginis = [
        value
        for row in trainer.recorder.rows
        for name, value in row.items()
        if name.startswith("gini") and value is not None
    ]
    figures = {
        **scores(trainer, inputs, weights),
        "lowest gini": min(ginis, default=float("nan")),
        "highest gini": max(ginis, default=float("nan")),
        "seconds": seconds,
    }
    return figures, trainer.recorder.rows


def scores(
    trainer: Trainer, inputs: TrainingInputs, action_weights: tuple[float, float, float]
) -> dict[str, float]:
    """The score of each group of test users, nan where it is empty."""
    interactions, validation = inputs.interactions, trainer.validation
    events = np.asarray(interactions.test_event)
    users = np.flatnonzero(events >= 0)
    actions = interactions.action_types[events[users]]
    counts = inputs.statistics.popularity[interactions.item_ids[events[users]]]
    trainer.dataset.interactions = dataclasses.replace(interactions, validation_event=events)
    trainer.network.eval()
    gains: dict[str, float] = dict.fromkeys(SCORES, 0.0)
    totals: dict[str, float] = dict.fromkeys(SCORES, 0.0)
    for action, rare in itertools.product((CLICK, CONVERSION), (False, True)):
        group = users[(actions == action) & ((counts < RARE) == rare)]
        if not len(group):
            continue
        validation.users = group
        found = validation.measure(trainer.network, trainer.world.device)
        score = HIT_RATE_SHARE * found["hr@10"] + NDCG_SHARE * found["ndcg@10"]
        weight = action_weights[action] * len(group)
        own = ["all", "clicks" if action == CLICK else "conversions", *["rare"] * rare]
        for name in own:
            gains[name] += weight * score
            totals[name] += weight
    return {name: gains[name] / totals[name] if totals[name] else float("nan") for name in SCORES}


def plot(histories: Mapping[str, History], file: Path) -> None:
    """The Gini of each layer above; below loss and validation NDCG@10, a line per network."""
    figure = Figure(figsize=(8.0, 9.0))
    above, middle, below = figure.subplots(3, 1, sharex=True)
    for name, history in histories.items():
        label = "full network" if name == FULL else f"without {name}"
        for axes, key, marker in ((middle, "loss", ""), (below, "ndcg@10", ".")):
            axes.plot(*_curve(history, key), label=label, marker=marker)
    ginis = [key for key in histories[FULL][0] if key.startswith("gini")]
    for layer, key in enumerate(ginis, 1):
        above.plot(*_curve(histories[FULL], key), label=f"layer {layer}")
    above.axhspan(LOW, HIGH, alpha=0.1)
    above.set_ylabel("Gini of the loads, full network")
    middle.set_ylabel("loss")
    below.set(xlabel="step", ylabel="validation NDCG@10")
    for axes in (above, middle):
        axes.legend(frameon=False, fontsize=7)
    write_png(figure, file)


def _curve(history: History, key: str) -> tuple[list[int], list[float]]:
    rows = [row for row in history if row[key] is not None]
    return [row["step"] for row in rows], [row[key] for row in rows]


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(WITHOUT), choices=list(WITHOUT))
    parser.add_argument("--layers", nargs="+", type=int, default=[])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--plot", type=Path, metavar="PNG")
    given = parser.parse_args()
    params = changed(Params.load(given.params), {f"{ENCODER}.epochs": given.epochs})
    print(
        "| without | score | ratio | clicks | conversions | rare items | lowest Gini "
        "| highest Gini | seconds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    full: list[dict[str, float]] = []
    histories: dict[str, History] = {}
    for name, changes in variants(given.only, given.layers, drawn=bool(given.plot)).items():
        measured = [
            measure(changed(params, changes | {"seed": params.seed + turn}), given.data)
            for turn in range(given.seeds)
        ]
        runs, histories[name] = [figures for figures, _ in measured], measured[0][1]
        full = full or runs
        print(_row(name, runs, full), flush=True)
    if given.plot:
        plot({name: histories[name] for name in (FULL, DENSE)}, given.plot)


def _row(name: str, runs: list[dict[str, float]], full: list[dict[str, float]]) -> str:
    mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    spread = ""
    if len(runs) > 1 and runs is not full:
        lost = [run["all"] - whole["all"] for run, whole in zip(runs, full, strict=True)]
        spread = f" ± {np.std(lost, ddof=1) / np.sqrt(len(lost)):.4f}"
    lowest = min(run["lowest gini"] for run in runs)
    highest = max(run["highest gini"] for run in runs)
    ratio = mean["all"] / float(np.mean([run["all"] for run in full]))
    return (
        f"| {name} | {mean['all']:.4f}{spread} | {ratio:.3f} | {mean['clicks']:.4f} "
        f"| {mean['conversions']:.4f} | {mean['rare']:.4f} | {lowest:.3f} "
        f"| {highest:.3f} | {mean['seconds']:.0f} |"
    )


if __name__ == "__main__":
    main()
