"""The training events as a DuckDB table in a temporary file, and queries of it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa

from model.artifact import disk_filled_up, require_free_space
from model.dataset.csr import positions_of
from model.dataset.interactions import EVENT_BYTES, Interactions
from model.errors import DISK_FULL, InputError
from model.partial_folders import scratch_folder
from model.progress import track

_USERS_PER_BATCH = 16_384
_SCHEMA = pa.schema({"item": pa.int32(), "action": pa.int8(), "time": pa.int64()})
# By default, DuckDB's limit of temporary files is the space that was free when it started.
_DISK_FULL = (*(os.strerror(number) for number in DISK_FULL), "max_temp_directory_size")


@contextmanager
def duckdb_folder(section: str, scratch: Path | None) -> Iterator[Path]:
    """Give DuckDB a folder for its files; out of memory or disk, raise an error with the remedy.

    Args:
        section: of the parameters, with DuckDB's ``memory_limit_gib``.
        scratch: where the folder is made; the machine's temporary one where None.

    Raises:
        InputError: DuckDB ran out of memory, or the disk filled up.
    """
    home = scratch or Path(tempfile.gettempdir())
    with scratch_folder(home, f"{section}-duckdb") as folder:
        try:
            yield folder
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            if any(words in str(error) for words in _DISK_FULL):
                raise disk_filled_up(f"{home}: DuckDB's files of {section}", home) from error
            if isinstance(error, duckdb.IOException):
                raise
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{section}.memory_limit_gib: too little for this data; raise it ({reason})"
            ) from error


class EventDatabase:
    """Training events only: those before their user's ``train_end``; a context manager.

    Its files are in ``folder``, which must outlive it.
    """

    def __init__(self, interactions: Interactions, memory_limit_gib: float, folder: Path) -> None:
        require_free_space(
            folder, 2 * interactions.num_events * EVENT_BYTES, what="DuckDB's temporary file"
        )
        self._connection = duckdb.connect(
            str(folder / "events.duckdb"),
            config={
                "memory_limit": f"{int(memory_limit_gib * 1024)}MiB",
                "temp_directory": str(folder / "spill"),
            },
        )
        self._connection.execute("SET preserve_insertion_order = false")
        source = pa.RecordBatchReader.from_batches(_SCHEMA, training_events(interactions))
        self._connection.register("source", source)
        self._connection.execute("CREATE TABLE events AS SELECT * FROM source")
        self._connection.unregister("source")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def by_item(self, num_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(I + 1, 3) int64 counts by action, (I + 1,) first and last time, 0 where unseen."""
        found = self._fetch(
            """
            SELECT item, min(time) AS first, max(time) AS last,
                   count(*) FILTER (action = 0) AS exposures,
                   count(*) FILTER (action = 1) AS clicks,
                   count(*) FILTER (action = 2) AS conversions
            FROM events GROUP BY item
            """
        )
        counts = np.zeros((num_items + 1, 3), np.int64)
        first, last = np.zeros((2, num_items + 1), np.int64)
        items = found["item"]
        for action, name in enumerate(("exposures", "clicks", "conversions")):
            counts[items, action] = found[name]
        first[items], last[items] = found["first"], found["last"]
        return counts, first, last

    def by_time(self) -> tuple[np.ndarray, np.ndarray]:
        """(T,) int64 distinct times, ascending, and (T,) int64 numbers of events at each."""
        found = self._fetch("SELECT time, count(*) AS n FROM events GROUP BY time ORDER BY time")
        return found["time"], found["n"]

    def popularity(self, boundaries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bucket, item and code of every item in every bucket, see ``ItemStatistics``; in order.

        Args:
            boundaries: (B + 1,) of the buckets.
        """
        starts = pa.table({"start": boundaries[:-1], "bucket": np.arange(1, len(boundaries))})
        self._connection.register("buckets", starts)
        found = self._fetch(
            """
            WITH bucketed AS (
                SELECT bucket, item, count(*) AS n
                FROM events ASOF JOIN buckets ON events.time >= buckets.start
                GROUP BY bucket, item
            ), ranked AS (
                SELECT bucket, item,
                       rank() OVER (PARTITION BY bucket ORDER BY n) - 1 AS fewer,
                       count(*) OVER (PARTITION BY bucket) AS items
                FROM bucketed
            )
            SELECT bucket, item,
                   (1 + (2000 * fewer + items) // (2 * items))::SMALLINT AS code
            FROM ranked ORDER BY bucket, item
            """
        )
        self._connection.unregister("buckets")
        return found["bucket"], found["item"], found["code"]

    def by_month(self) -> pa.Table:
        """Events and distinct items by month (UTC) and action."""
        return self._connection.sql(
            """
            SELECT strftime(make_timestamp(time * 1000000), '%Y-%m') AS month,
                   action AS action_type, count(*) AS events, count(DISTINCT item) AS items
            FROM events GROUP BY ALL ORDER BY month, action_type
            """
        ).to_arrow_table()

    def _fetch(self, query: str) -> dict[str, np.ndarray]:
        columns = self._connection.execute(query).fetchnumpy()
        return {name: np.asarray(column) for name, column in columns.items()}


def training_events(interactions: Interactions) -> Iterator[pa.RecordBatch]:
    """The training events, some users at a time: ``item``, ``action`` and ``time``."""
    firsts = range(0, interactions.num_users, _USERS_PER_BATCH)
    for first in track(firsts, total=len(firsts), what="counting events", unit="batch"):
        users = slice(first, first + _USERS_PER_BATCH)
        starts = interactions.offsets[:-1][users]
        events = positions_of(starts, interactions.train_end[users] - starts)
        yield pa.record_batch(
            [
                interactions.item_ids[events],
                interactions.action_types[events],
                interactions.timestamps[events],
            ],
            schema=_SCHEMA,
        )
