"""The evaluation's result as an artefact: JSON for machines, tables and plots for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from model.artifact import atomic_folder, read_json, write_json
from model.inference.paths import PATHS


@dataclass(frozen=True)
class EvaluationReport:
    """The metrics of an evaluation.

    Attributes:
        metrics: ``users``, ``candidates``, ``allowed_items``, ``masked_actions``,
            ``seen_masked`` (all of them), ``beam_weight``, ``cascade_losses``, ``search_alone``
            (whether the cascade had no beams), and per path ``hr@k``, ``ndcg@k``, ``mrr@k``,
            ``score``, ``catalogue_coverage``, ``novelty``, ``gini`` and ``ci95``;
            ``cascade_default_action``, the cascade where it is not told the target's action, has
            the metrics of ranks alone, and in ``users`` how many were asked otherwise.
        breakdowns: rows of ``division``, ``group``, ``users``, ``weight``, ``path``, ``hr@10``,
            ``ndcg@10``, ``score``, and in ``ci95`` the interval of ``ndcg@10``.
        tuning: rows of ``beam_weight``, ``ndcg@10``, ``hr@10``, one per weight that was tried: a
            single one where it was given.
    """

    metrics: dict[str, Any]
    breakdowns: Sequence[dict[str, Any]]
    tuning: Sequence[dict[str, Any]]

    @property
    def beam_weight(self) -> float:
        """The weight of the beam's log-probability, given or tuned."""
        return float(self.metrics["beam_weight"])

    def table(self) -> pd.DataFrame:
        """One row per path, one column per metric."""
        rows = [
            {"path": path} | {k: v for k, v in self.metrics[path].items() if k != "ci95"}
            for path in PATHS
        ]
        return pd.DataFrame(rows)

    def save(self, folder: Path) -> None:
        """Write metrics.json, the tables as CSV and the plots as PNG."""
        from model.inference import plots  # who only reads a report does not wait for matplotlib

        with atomic_folder(folder, needed_bytes=2_000_000) as out:
            write_json(out / "metrics.json", self.metrics)
            details = {"breakdowns": list(self.breakdowns), "tuning": list(self.tuning)}
            write_json(out / "details.json", details)
            self.table().to_csv(out / "metrics.csv", index=False)
            pd.DataFrame(map(_flat, self.breakdowns)).to_csv(out / "breakdowns.csv", index=False)
            plots.plot_paths(self.metrics, PATHS, out / "paths.png")
            plots.plot_cutoffs(self.metrics, PATHS, out / "cutoffs.png")
            plots.plot_losses(self.metrics["cascade_losses"], out / "losses.png")
            plots.plot_breakdowns(self.breakdowns, out / "breakdowns.png")
            pd.DataFrame(self.tuning).to_csv(out / "tuning.csv", index=False)
            plots.plot_tuning(self.tuning, self.beam_weight, out / "tuning.png")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        details = read_json(Path(folder) / "details.json")
        return cls(
            metrics=read_json(Path(folder) / "metrics.json"),
            breakdowns=details["breakdowns"],
            tuning=details["tuning"],
        )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose intervals are columns, with their path in the JSON as name."""
    columns = {name: value for name, value in row.items() if name != "ci95"}
    for name, interval in row["ci95"].items():
        low, high = interval or (None, None)
        columns |= {f"ci95.{name}.low": low, f"ci95.{name}.high": high}
    return columns
