"""One row per item in DuckDB, and the queries of the coverage report.

The rows are aggregated once into a small cube (by which modalities cover the item, how popular it
is, when it was first seen); almost every query reads the cube.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from model.dataset.event_database import training_events
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.vector_audit import VectorAudit
from model.dataset.vector_states import VALID
from model.errors import InputError

MAX_MODALITIES = 62  # bits of a mask
SAMPLE = 20  # items shown of each kind of trouble
_GROUP_SAMPLE = 5  # items shown of a group of equal vectors
_WEEK, _MONDAY = 7 * 86_400, 3 * 86_400  # 1970 began on a Thursday
_NORM_BINS = 40
_QUANTILES = {"p1": 0.01, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
_TRAFFIC = pa.schema({"mask": pa.int64(), "time": pa.int64()})

Row = dict[str, Any]


class CoverageDatabase:
    """Items, their states and the training events; a context manager.

    It spills to ``folder``, which must outlive it.
    """

    def __init__(
        self,
        interactions: Interactions,
        statistics: ItemStatistics,
        modalities: Sequence[ModalityEmbedding],
        memory_limit_gib: float,
        folder: Path,
    ) -> None:
        if len(modalities) > MAX_MODALITIES:
            raise InputError(
                f"modality_embeddings.modalities: names {len(modalities)}, the coverage report "
                f"counts combinations of at most {MAX_MODALITIES}; leave some out"
            )
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{int(memory_limit_gib * 1024)}MiB",
                "temp_directory": str(folder / "spill"),
            }
        )
        self._connection.execute("SET preserve_insertion_order = false")
        masks = _masks(interactions.num_items, modalities)
        items = _item_table(interactions, statistics, modalities, masks)
        self._connection.register("items", items)
        self._connection.execute(_CUBE)
        self._count_traffic(interactions, masks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def _count_traffic(self, interactions: Interactions, masks: np.ndarray) -> None:
        """Training events by week and by the modalities that cover their item."""
        batches = _masked(training_events(interactions), masks)
        source = pa.RecordBatchReader.from_batches(_TRAFFIC, batches)
        self._connection.register("events", source)
        self._connection.execute(
            f"""
            CREATE TABLE traffic AS
            SELECT (time + {_MONDAY}) // {_WEEK} AS week, mask, count(*) AS events
            FROM events GROUP BY ALL
            """
        )
        self._connection.unregister("events")

    def totals(self) -> Row:
        """Items, candidates, cold and unseen items, and events by action."""
        return self._rows(f"SELECT {_SUMS} FROM cube")[0]

    def covered(self, place: int) -> Row:
        """The same of the items that the modality at ``place`` covers."""
        return self._rows(f"SELECT {_SUMS} FROM cube WHERE (mask >> {place}) & 1 = 1")[0]

    def states(self, place: int) -> list[Row]:
        """Items by state, with the first ``SAMPLE`` item ids of each."""
        return self._rows(
            f"""
            SELECT state_{place} AS state, count(*) AS items, min(item, {SAMPLE}) AS first_items
            FROM items GROUP BY state ORDER BY state
            """
        )

    def hottest_uncovered(self, place: int) -> list[Row]:
        """``item`` and ``events`` of the uncovered items that cost the most."""
        return self._rows(
            f"""
            SELECT item, events FROM items WHERE state_{place} <> {VALID} AND events > 0
            ORDER BY events DESC, item LIMIT {SAMPLE}
            """
        )

    def uncovered_candidates(self, place: int) -> list[int]:
        """The first candidates that the modality does not cover."""
        found = self._rows(
            f"""
            SELECT item FROM items WHERE candidate AND state_{place} <> {VALID}
            ORDER BY item LIMIT {SAMPLE}
            """
        )
        return [row["item"] for row in found]

    def combinations(self) -> list[Row]:
        """``mask``, ``items``, ``events`` and ``candidates`` of every set of modalities."""
        return self._rows(
            """
            SELECT mask, sum(items)::BIGINT AS items, sum(events)::BIGINT AS events,
                   coalesce(sum(items) FILTER (candidate), 0)::BIGINT AS candidates
            FROM cube GROUP BY mask ORDER BY items DESC, mask
            """
        )

    def popularity(self, place: int) -> list[Row]:
        """Items and covered items by the number of digits of their events; 0 where unseen."""
        return self._rows(
            f"""
            SELECT digits, sum(items)::BIGINT AS items,
                   coalesce(sum(items) FILTER ((mask >> {place}) & 1 = 1), 0)::BIGINT AS covered
            FROM cube GROUP BY digits ORDER BY digits
            """
        )

    def weeks(self, place: int) -> list[Row]:
        """By week: events and new items, and those of them that the modality covers."""
        covered = f"FILTER ((mask >> {place}) & 1 = 1)"
        return self._rows(
            f"""
            WITH fresh AS (
                SELECT week, sum(items) AS new_items, sum(items) {covered} AS covered_new_items
                FROM cube GROUP BY week
            ), seen AS (
                SELECT week, sum(events) AS events, sum(events) {covered} AS covered_events
                FROM traffic GROUP BY week
            )
            SELECT strftime(make_timestamp((week * {_WEEK} - {_MONDAY}) * 1000000), '%Y-%m-%d')
                       AS week,
                   events::BIGINT AS events,
                   coalesce(covered_events, 0)::BIGINT AS covered_events,
                   coalesce(new_items, 0)::BIGINT AS new_items,
                   coalesce(covered_new_items, 0)::BIGINT AS covered_new_items
            FROM seen LEFT JOIN fresh USING (week) ORDER BY week
            """
        )

    def duplicates(self, item_ids: np.ndarray, audit: VectorAudit) -> tuple[Row, list[Row]]:
        """Groups of items with equal vectors.

        Args:
            item_ids: (N,) int32, the covered items.
            audit: of their vectors.

        Returns:
            ``duplicate_groups``, ``duplicate_items``, ``largest_duplicate_group``; and the largest
            groups, each with ``items`` in it and its first ``item_ids``.
        """
        columns = {"item": np.asarray(item_ids), "fingerprint": audit.fingerprints}
        self._connection.register("vectors", pa.table(columns))
        groups = f"""
            SELECT count(*) AS items, min(item, {_GROUP_SAMPLE}) AS item_ids
            FROM vectors GROUP BY fingerprint HAVING count(*) > 1
            """
        self._connection.execute(f"CREATE OR REPLACE TABLE twins AS {groups}")
        self._connection.unregister("vectors")
        counts = self._rows(
            """
            SELECT count(*) AS duplicate_groups,
                   coalesce(sum(items), 0)::BIGINT AS duplicate_items,
                   coalesce(max(items), 1) AS largest_duplicate_group
            FROM twins
            """
        )[0]
        largest = f"SELECT * FROM twins ORDER BY items DESC, item_ids[1] LIMIT {SAMPLE}"
        return counts, self._rows(largest)

    def norms(self, audit: VectorAudit) -> tuple[Row, list[Row]]:
        """Quantiles of the norms, and a histogram of equal bins between their extremes.

        Quantiles are None, and there are no bins, where there is no vector.
        """
        self._connection.register("lengths", pa.table({"norm": audit.norms}))
        quantiles = ", ".join(
            f"quantile_disc(norm, {share}) AS {name}" for name, share in _QUANTILES.items()
        )
        summary = self._rows(f"SELECT min(norm) AS min, max(norm) AS max, {quantiles} FROM lengths")
        if len(audit.norms) == 0:
            self._connection.unregister("lengths")
            return summary[0], []
        low, high = summary[0]["min"], summary[0]["max"]
        width = (high - low) / _NORM_BINS or 1.0
        counted = self._rows(
            f"""
            SELECT least(floor((norm::DOUBLE - {low!r}) / {width!r})::INT, {_NORM_BINS - 1}) AS bin,
                   count(*) AS items
            FROM lengths GROUP BY bin ORDER BY bin
            """
        )
        self._connection.unregister("lengths")
        bins = [
            {"from": low + row["bin"] * width, "to": low + (row["bin"] + 1) * width} | row
            for row in counted
        ]
        return summary[0], bins

    def _rows(self, query: str) -> list[Row]:
        found = self._connection.execute(query)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]


_SUMS = """
    coalesce(sum(items), 0)::BIGINT AS items,
    coalesce(sum(items) FILTER (candidate), 0)::BIGINT AS candidates,
    coalesce(sum(items) FILTER (cold), 0)::BIGINT AS cold_items,
    coalesce(sum(items) FILTER (digits = 0), 0)::BIGINT AS unseen_items,
    coalesce(sum(events), 0)::BIGINT AS events,
    coalesce(sum(exposures), 0)::BIGINT AS exposures,
    coalesce(sum(clicks), 0)::BIGINT AS clicks,
    coalesce(sum(conversions), 0)::BIGINT AS conversions
"""

_CUBE = f"""
    CREATE TABLE cube AS
    SELECT mask, candidate, cold,
           CASE WHEN events > 0 THEN length(events::VARCHAR) ELSE 0 END AS digits,
           CASE WHEN events > 0 THEN (first_time + {_MONDAY}) // {_WEEK} END AS week,
           count(*) AS items, sum(events) AS events, sum(exposures) AS exposures,
           sum(clicks) AS clicks, sum(conversions) AS conversions
    FROM items GROUP BY ALL
"""


def _masks(num_items: int, modalities: Sequence[ModalityEmbedding]) -> np.ndarray:
    """(num_items + 1,) int64, bit p set where modality p covers the item."""
    masks = np.zeros(num_items + 1, np.int64)
    for place, modality in enumerate(modalities):
        masks[modality.item_ids] |= 1 << place
    return masks


def _item_table(
    interactions: Interactions,
    statistics: ItemStatistics,
    modalities: Sequence[ModalityEmbedding],
    masks: np.ndarray,
) -> pa.Table:
    item_ids = np.arange(1, interactions.num_items + 1, dtype=np.int32)
    candidate = np.zeros(len(masks), bool)
    candidate[interactions.candidate_item_ids] = True
    counts = statistics.counts[1:]
    columns = {
        "item": item_ids,
        "mask": masks[1:],
        "candidate": candidate[1:],
        "cold": item_ids > interactions.num_known_items,
        "first_time": np.asarray(statistics.first_timestamp[1:]),
        "events": counts.sum(axis=1),
    }
    for action, name in enumerate(("exposures", "clicks", "conversions")):
        columns[name] = np.ascontiguousarray(counts[:, action])
    for place, modality in enumerate(modalities):
        columns[f"state_{place}"] = np.asarray(modality.states[1:])
    return pa.table(columns)


def _masked(batches: Iterator[pa.RecordBatch], masks: np.ndarray) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        covered = masks[batch["item"].to_numpy()]
        yield pa.record_batch([covered, batch["time"]], schema=_TRAFFIC)
