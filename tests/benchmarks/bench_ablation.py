"""What each part of the network is worth: one training per part that is left out.

``python -m tests.benchmarks.bench_ablation --params params.yaml --data DIR [--only NAME ...]``
trains ``encoder_checkpoint`` anew for every row, from the artefacts in DIR (made by ``onepiece
materialize coverage_report``), and ranks the held-out test items of all users by embedding-only
search. Prints a table; the ratio is to the full network, in the same run.
"""

import argparse
import copy
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from model.params import Params
from model.training.distributed import join_world
from model.training.inputs import ENCODER, TrainingInputs
from model.training.resume import StateFolder
from model.training.task import build_trainer

WITHOUT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "next action": {"network.features.next_action": False},
    "time": {
        "network.features.relative_time": False,
        "network.features.absolute_time": False,
        "network.time_bias": False,
    },
    "modalities": {"network.features.modalities": []},
    "logQ": {f"{ENCODER}.loss.logq": "none"},
    "all layers but one": {"network.num_layers": 1},
    "experts (dense, same active size)": {"network.feed_forward.kind": "dense"},
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


def measure(params: Params, data: Path) -> dict[str, float]:
    """Train the encoder and rank the test items of all users."""
    inputs = TrainingInputs.load(data, params, ENCODER)
    world = join_world()
    started = time.monotonic()
    trainer = build_trainer(inputs, params, ENCODER, world)
    with tempfile.TemporaryDirectory() as states:
        trainer.run(StateFolder(Path(states), "ablation"), lambda: False)
    seconds = time.monotonic() - started
    trainer.network.load_state_dict(trainer.final_weights())
    events = np.asarray(inputs.interactions.test_event)
    trainer.validation.users = np.flatnonzero(events >= 0)
    trainer.dataset.interactions = dataclasses.replace(inputs.interactions, validation_event=events)
    found = trainer.validation.measure(trainer.network.eval(), world.device)
    ginis = [
        value
        for row in trainer.recorder.rows
        for name, value in row.items()
        if name.startswith("gini") and value is not None
    ]
    return {**found, "gini": max(ginis, default=float("nan")), "seconds": seconds}


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(WITHOUT), choices=list(WITHOUT))
    given = parser.parse_args()
    params = Params.load(given.params)
    print("| without | HR@10 | NDCG@10 | score | ratio | highest Gini | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    full: float | None = None
    for name in given.only:
        found = measure(changed(params, WITHOUT[name]), given.data)
        score = 0.31 * found["hr@10"] + 0.69 * found["ndcg@10"]
        full = full or score
        print(
            f"| {name} | {found['hr@10']:.4f} | {found['ndcg@10']:.4f} | {score:.4f} "
            f"| {score / full:.3f} | {found['gini']:.3f} | {found['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
