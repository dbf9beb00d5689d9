"""The result of a study: every trial with its lineage, the best one, importances, two plots."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from optuna.trial import FrozenTrial, TrialState

from assets.tuning.shared_study import FACTS, ORIGIN, REASON, SharedStudy
from assets.tuning.space import as_parameters
from assets.tuning.task import StudyTask
from assets.tuning.trial import MEASURE
from model.artifact import atomic_folder, read_json, write_json
from model.errors import InputError
from model.params import Params
from model.pictures import write_png

TRIALS_FILE, SUMMARY_FILE, TABLE_FILE = "trials.json", "summary.json", "trials.csv"
COMPLETE, ENDED_EARLY = "complete", "ended early"


@dataclass(frozen=True)
class TuningReport:
    """All finished trials of a study.

    Attributes:
        trials: in the order in which they were begun; each with ``number``, ``state``, ``value``,
            ``parameters``, ``validations``, ``reason``, ``facts`` and ``lineage``.
        importances: share of the values' variance that each key explains, largest first.
    """

    trials: list[dict[str, Any]]
    importances: dict[str, float]

    @property
    def best(self) -> dict[str, Any]:
        """The trial with the highest value, the earliest of ties.

        Raises:
            InputError: no trial completed.
        """
        complete = [trial for trial in self.trials if trial["state"] == COMPLETE]
        if complete:
            return max(complete, key=lambda trial: trial["value"])
        last = f": {self.trials[-1]['reason']}" if self.trials else ""
        raise InputError(
            f"tuning_study: none of {len(self.trials)} trials completed{last}; run "
            "`onepiece tune` with the same --params and --data, or change tuning_study.space"
        )

    @classmethod
    def of(cls, study: SharedStudy, task: StudyTask) -> Self:
        """Report the trials that are finished so far."""
        rows = [_row(trial, study.params, task) for trial in study.finished()]
        return cls(rows, study.importances())

    def save(self, folder: Path) -> None:
        """Write the tables and pictures."""
        best = self.best
        with atomic_folder(folder) as out:
            write_json(out / TRIALS_FILE, self.trials)
            summary = {
                "trials": len(self.trials),
                "complete": sum(trial["state"] == COMPLETE for trial in self.trials),
                "best": {key: best[key] for key in ("number", "value", "parameters")},
                "importances": self.importances,
            }
            write_json(out / SUMMARY_FILE, summary)
            _write_table(self.trials, out / TABLE_FILE)
            plot_history(self.trials, out / "history.png")
            plot_importances(self.importances, out / "importances.png")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        kept = read_json(folder / SUMMARY_FILE)["importances"]
        importances = sorted(kept.items(), key=lambda entry: -entry[1])
        return cls(read_json(folder / TRIALS_FILE), dict(importances))


def _row(trial: FrozenTrial, params: Params, task: StudyTask) -> dict[str, Any]:
    attributes = trial.user_attrs
    complete = trial.state is TrialState.COMPLETE
    validations = trial.intermediate_values
    return {
        "number": attributes[ORIGIN],
        "state": COMPLETE if complete else ENDED_EARLY,
        "value": trial.value if complete else None,
        "parameters": as_parameters(trial.params, params),
        "validations": [validations[place] for place in sorted(validations)],
        "reason": attributes.get(REASON),
        "facts": attributes.get(FACTS, {}),
        "lineage": asdict(task) | {"study": task.name},
    }


def table_rows(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One flat row per trial, with the last validation of one that ended early."""
    return [
        {
            "trial": trial["number"],
            "state": trial["state"],
            MEASURE: trial["value"],
            "last validation": trial["validations"][-1] if trial["validations"] else None,
            "validations": len(trial["validations"]),
            **trial["parameters"],
            "reason": trial["reason"],
        }
        for trial in trials
    ]


def _write_table(trials: Sequence[dict[str, Any]], path: Path) -> None:
    rows = table_rows(trials)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot_history(trials: Sequence[dict[str, Any]], path: Path) -> None:
    """Every trial's value, and the best so far."""
    complete = [trial for trial in trials if trial["state"] == COMPLETE]
    early = [trial for trial in trials if trial["state"] != COMPLETE and trial["validations"]]
    figure, axis = _axis()
    axis.scatter([t["number"] for t in complete], [t["value"] for t in complete], label=COMPLETE)
    axis.scatter(
        [t["number"] for t in early],
        [t["validations"][-1] for t in early],
        facecolors="none",
        edgecolors="grey",
        label=f"{ENDED_EARLY}, last validation",
    )
    best = [max(t["value"] for t in complete[: place + 1]) for place in range(len(complete))]
    axis.step([t["number"] for t in complete], best, where="post", label="best so far")
    axis.set(title="History of the study", xlabel="trial", ylabel=f"validation {MEASURE}")
    axis.legend(fontsize=8)
    write_png(figure, path, dpi=90)


def plot_importances(importances: dict[str, float], path: Path) -> None:
    """Which keys the value depends on."""
    figure, axis = _axis()
    names = list(importances)[::-1]
    axis.barh(names, [importances[name] for name in names])
    axis.set(title="Importance of each key", xlabel="share of the variance of values")
    if not names:
        axis.text(0.5, 0.5, "too few trials to tell", ha="center", transform=axis.transAxes)
    write_png(figure, path, dpi=90)


def _axis() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6))
    axis = figure.subplots()
    axis.grid(alpha=0.3)
    return figure, axis
