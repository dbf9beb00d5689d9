"""The coverage report as an artefact: JSON, tables, headlines for DVC, pictures."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from model.artifact import atomic_folder, read_json, write_json
from model.dataset.coverage_database import Row
from model.dataset.coverage_plots import plot_combinations, plot_modality

_FILE = "coverage.json"
_TABLES = ("combinations", "popularity", "over_time", "norms")


@dataclass(frozen=True)
class CoverageReport:
    """All counts of one data set. Rates and norms of nothing are None.

    Attributes:
        modalities: by name: ``covered`` of ``total`` items and their ``rate``; the other items by
            reason (``missing``, ``null``, ``zero``, ``nan`` also for infinite, ``wrong_width``);
            ``width``; rows of the files (``rows``, ``unmatched``, ``repeated_rows``); ``traffic``,
            the rate weighted by ``events`` and by each action; ``candidates``, ``cold_items`` (not
            in the training vocabulary) and ``unseen_items`` (no training event), each with
            ``covered``, ``total`` and ``rate``; ``distinct_vectors``, ``duplicate_items`` (those
            whose vector, as stored in float16, another item has as well), ``duplicate_rate`` (of
            the covered), ``duplicate_groups``, ``largest_duplicate_group``; ``norm`` with mean,
            standard deviation, extremes and percentiles.
        joint: items covered by ``any``, ``all`` and ``none`` of the modalities, and ``pairs``:
            items that both of two modalities cover, by name and name.
        combinations: rows ``modalities`` (names joined by +, or ``none``), ``items``, ``share``,
            ``events``, ``traffic_share``, ``candidates``; every item is in exactly one.
        popularity: rows ``modality``, ``events`` (range), ``items``, ``covered``, ``rate``.
        over_time: rows ``modality``, ``week`` (its Monday, UTC), ``events``, ``covered_events``,
            ``rate``, ``new_items`` (first seen that week), ``covered_new_items``,
            ``new_item_rate``.
        norms: histogram rows ``modality``, ``bin``, ``from``, ``to``, ``items``.
        samples: by modality: raw ids of the first items of every state that occurs but valid,
            ``uncovered_candidates``, ``hottest_uncovered`` (``id``, ``events``) and
            ``largest_duplicate_groups`` (``items``, ``ids``).
    """

    modalities: dict[str, Row]
    joint: Row
    combinations: list[Row]
    popularity: list[Row]
    over_time: list[Row]
    norms: list[Row]
    samples: dict[str, Row]

    def save(self, folder: Path) -> None:
        """Write everything as JSON, the tables as CSV, headlines for DVC, and the pictures."""
        with atomic_folder(folder) as out:
            write_json(out / _FILE, asdict(self))
            write_json(out / "metrics.json", {n: _headline(r) for n, r in self.modalities.items()})
            _write_csv(out / "modalities.csv", [_flat(n, r) for n, r in self.modalities.items()])
            for name in _TABLES:
                _write_csv(out / f"{name}.csv", getattr(self, name))
            for name, row in self.modalities.items():
                tables = (self.popularity, self.over_time, self.norms)
                chosen = [[row for row in rows if row["modality"] == name] for rows in tables]
                plot_modality(name, row, *chosen, file=out / f"{name}.png")
            plot_combinations(self.combinations, out / "combinations.png")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open.

        Raises:
            InputError: missing or damaged.
        """
        return cls(**read_json(Path(folder) / _FILE))


def _headline(row: Row) -> Row:
    """The numbers to compare between runs."""
    return {
        "rate": row["rate"],
        "candidate_rate": row["candidates"]["rate"],
        "cold_rate": row["cold_items"]["rate"],
        "traffic_rate": row["traffic"]["events"],
        "invalid": row["nan"] + row["wrong_width"],
        "zero": row["zero"],
        "duplicate_rate": row["duplicate_rate"],
    }


def _flat(name: str, row: Row) -> Row:
    """A modality's row, flattened: nested keys become ``part.key``."""
    flat: dict[str, Any] = {"modality": name}
    for key, value in row.items():
        flat |= (
            {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    return flat


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
