"""Which items each modality covers, how well, and what the gaps cost.

The paper's table 1 (items with a vector, of all items, including cold candidates) and what a
reader needs to judge it: why the others have none, whether popular or cold items are missing, how
many items share one vector, and whether coverage is falling. DuckDB counts; the vectors themselves
are read once. Only training events are counted.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.dataset.coverage_database import CoverageDatabase, Row
from model.dataset.coverage_report import CoverageReport
from model.dataset.event_database import duckdb_folder
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.vector_audit import VectorAudit, audit_vectors
from model.dataset.vector_states import STATE_NAMES, VALID
from model.errors import InputError

if TYPE_CHECKING:
    from model.params import CoverageReportParams

logger = logging.getLogger("onepiece")

_PARTS = ("candidates", "cold_items", "unseen_items")
_WEIGHTS = ("events", "exposures", "clicks", "conversions")
_STATES = tuple("nan" if name == "not_finite" else name for name in STATE_NAMES)


def measure_coverage(
    interactions: Interactions,
    item_statistics: ItemStatistics,
    modalities: Sequence[ModalityEmbedding],
    params: "CoverageReportParams",
    *,
    scratch: Path | None = None,
) -> CoverageReport:
    """Count everything in :class:`CoverageReport`.

    Args:
        interactions: give the items and the training events.
        item_statistics: of these events.
        modalities: whose coverage is measured.
        params: give DuckDB's memory limit.
        scratch: folder of what exceeds it; the machine's temporary one where None.

    Raises:
        InputError: a modality was read for another set of items, or DuckDB's memory is too small,
            or the disk has no room.
    """
    for modality in modalities:
        _require_same_items(modality, interactions)
    measured, samples, tables = {}, {}, {"popularity": [], "over_time": [], "norms": []}
    limit = params.memory_limit_gib
    with (
        duckdb_folder("coverage_report", scratch) as folder,
        CoverageDatabase(interactions, item_statistics, modalities, limit, folder) as database,
    ):
        totals, sets = database.totals(), database.combinations()
        for place, modality in enumerate(modalities):
            name = modality.name
            measured[name], samples[name], rows = _measure(
                database, place, modality, interactions, totals
            )
            for table, found in rows.items():
                tables[table] += [{"modality": name} | row for row in found]
            covered = measured[name]["covered"]
            logger.info("modality %s covers %d of %d items", name, covered, totals["items"])
    names = [modality.name for modality in modalities]
    return CoverageReport(
        modalities=measured,
        joint=_joint(sets, names),
        combinations=[_combination(row, names, totals) for row in sets],
        samples=samples,
        **tables,
    )


def _measure(
    database: CoverageDatabase,
    place: int,
    modality: ModalityEmbedding,
    interactions: Interactions,
    totals: Row,
) -> tuple[Row, Row, dict[str, list[Row]]]:
    """A modality's row, its samples, and its rows of the tables."""
    audit = audit_vectors(modality.matrix, modality.name)
    summary, bins = database.norms(audit)
    twins, groups = database.duplicates(modality.item_ids, audit)
    states = database.states(place)
    row = _states(states) | _rates(database, place, totals) | _files(modality)
    row |= _duplicates(row["covered"], twins) | {"norm": _norm(audit, summary)}
    samples = _state_samples(states, interactions) | {
        "uncovered_candidates": _raw(database.uncovered_candidates(place), interactions),
        "hottest_uncovered": _hottest(database.hottest_uncovered(place), interactions),
        "largest_duplicate_groups": [
            {"items": group["items"], "ids": _raw(group["item_ids"], interactions)}
            for group in groups
        ],
    }
    tables = {
        "popularity": [_band(band) for band in database.popularity(place)],
        "over_time": [_week(week) for week in database.weeks(place)],
        "norms": bins,
    }
    return row, samples, tables


def _require_same_items(modality: ModalityEmbedding, interactions: Interactions) -> None:
    rows = len(modality.states) - 1
    if rows != interactions.num_items:
        raise InputError(
            f"modality_embeddings {modality.name}: made for {rows:,} items and interactions has "
            f"{interactions.num_items:,}; materialise modality_embeddings again"
        )


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _states(states: Sequence[Row]) -> Row:
    """Items by state, under the names of the report."""
    counts = {row["state"]: row["items"] for row in states}
    named = {name: counts.get(code, 0) for code, name in enumerate(_STATES)}
    total = sum(counts.values())
    covered = named.pop("valid")
    return {"covered": covered, "total": total, "rate": _rate(covered, total)} | named


def _rates(database: CoverageDatabase, place: int, totals: Row) -> Row:
    """Coverage of parts of the items, and weighted by what happened to them."""
    covered = database.covered(place)
    parts = {
        name: {
            "covered": covered[name],
            "total": totals[name],
            "rate": _rate(covered[name], totals[name]),
        }
        for name in _PARTS
    }
    return parts | {"traffic": {name: _rate(covered[name], totals[name]) for name in _WEIGHTS}}


def _files(modality: ModalityEmbedding) -> Row:
    return {
        "width": modality.width,
        "rows": modality.counts["rows"],
        "unmatched": modality.counts["unmatched"],
        "repeated_rows": modality.counts["duplicates"],
    }


def _duplicates(covered: int, twins: Row) -> Row:
    items, groups = twins["duplicate_items"], twins["duplicate_groups"]
    return twins | {
        "largest_duplicate_group": min(twins["largest_duplicate_group"], covered),
        "distinct_vectors": covered - items + groups,
        "duplicate_rate": _rate(items, covered),
    }


def _norm(audit: VectorAudit, summary: Row) -> Row:
    if len(audit.norms) == 0:
        return summary | {"mean": None, "std": None}
    # numpy's order of summation is fixed; that of DuckDB's threads is not
    mean = float(audit.norms.mean(dtype=np.float64))
    return summary | {"mean": mean, "std": float(audit.norms.std(dtype=np.float64))}


def _raw(item_ids: Sequence[int], interactions: Interactions) -> list[str]:
    return [interactions.raw_item_ids[item - 1].as_py() for item in item_ids]


def _state_samples(states: Sequence[Row], interactions: Interactions) -> Row:
    return {
        _STATES[row["state"]]: _raw(row["first_items"], interactions)
        for row in states
        if row["state"] != VALID
    }


def _hottest(rows: Sequence[Row], interactions: Interactions) -> list[Row]:
    ids = _raw([row["item"] for row in rows], interactions)
    return [{"id": id_, "events": row["events"]} for id_, row in zip(ids, rows, strict=True)]


def _band(row: Row) -> Row:
    """A band of popularity, named by its range of events."""
    digits = row["digits"]
    low, high = 10 ** (digits - 1) if digits else 0, 10**digits - 1
    return {
        "events": f"{low}-{high}" if digits else "0",
        "items": row["items"],
        "covered": row["covered"],
        "rate": _rate(row["covered"], row["items"]),
    }


def _week(row: Row) -> Row:
    return row | {
        "rate": _rate(row["covered_events"], row["events"]),
        "new_item_rate": _rate(row["covered_new_items"], row["new_items"]),
    }


def _combination(row: Row, names: Sequence[str], totals: Row) -> Row:
    return {
        "modalities": "+".join(_members(row["mask"], names)) or "none",
        "items": row["items"],
        "share": _rate(row["items"], totals["items"]),
        "events": row["events"],
        "traffic_share": _rate(row["events"], totals["events"]),
        "candidates": row["candidates"],
    }


def _joint(sets: Sequence[Row], names: Sequence[str]) -> Row:
    def items(wanted: int) -> int:
        return sum(row["items"] for row in sets if row["mask"] & wanted == wanted)

    none = sum(row["items"] for row in sets if row["mask"] == 0)
    pairs = {
        name: {other: items(1 << at | 1 << there) for there, other in enumerate(names)}
        for at, name in enumerate(names)
    }
    return {"any": items(0) - none, "all": items((1 << len(names)) - 1), "none": none} | {
        "pairs": pairs
    }


def _members(mask: int, names: Sequence[str]) -> list[str]:
    return [name for place, name in enumerate(names) if mask >> place & 1]
