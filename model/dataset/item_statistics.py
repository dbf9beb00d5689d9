"""Item statistics from the training events: counts, lifetime, popularity over time.

Only events before a user's ``train_end`` are counted, so that no held-out event leaks into
training. Calendar dates are UTC.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.artifact import atomic_folder, open_array, open_table
from model.dataset.interactions import Interactions
from model.dataset.popularity_table import build_table, look_up

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.params import ItemStatisticsParams

FIRST_YEAR, LAST_YEAR_CODE = 2019, 20
_ARRAYS = (
    "counts",
    "log_q",
    "first_timestamp",
    "last_timestamp",
    "life_cycle",
    "bucket_boundaries",
    "pop_starts",
    "pop_slots",
)


@dataclass(frozen=True)
class ItemStatistics:
    """Counts over the training part; I items, row 0 is padding.

    Attributes:
        counts: (I + 1, 3) int64, events by action type.
        log_q: (I + 1,) float32, log of the item's share of all events; an unseen item has the
            smallest share of any seen one.
        first_timestamp: (I + 1,) int64, of any action; 0 where unseen.
        last_timestamp: (I + 1,) int64.
        life_cycle: (I + 1, 6) int16, year, month and day of the first and of the last event:
            years since 2019 cut to 1..20, months 1..12, days 1..31; 0 where unseen.
        bucket_boundaries: (B + 1,) int64 ascending; bucket b holds times t with
            ``bucket_boundaries[b - 1] <= t < bucket_boundaries[b]``. Buckets are of equal frequency
            up to ties, and fewer than asked for where there are fewer distinct times.
        pop_starts: (B + 2,) int64, with the next one a table of every item seen in a bucket, see
            :mod:`model.dataset.popularity_table`.
        pop_slots: (S,) int64 its slots. An item's code is 1 + ten times the percentile of its count
            among the items of its bucket: 1..1001.
        monthly: table of ``month`` (YYYY-MM), ``action_type``, ``events``, ``items``.
    """

    counts: np.ndarray
    log_q: np.ndarray
    first_timestamp: np.ndarray
    last_timestamp: np.ndarray
    life_cycle: np.ndarray
    bucket_boundaries: np.ndarray
    pop_starts: np.ndarray
    pop_slots: np.ndarray
    monthly: pa.Table

    @property
    def num_time_buckets(self) -> int:
        return len(self.bucket_boundaries) - 1

    @property
    def popularity(self) -> np.ndarray:
        """(I + 1,) int64 training events of any action."""
        return self.counts.sum(axis=1)

    def time_bucket(self, timestamps: np.ndarray) -> np.ndarray:
        """Times of any shape -> int64 numbers of their buckets, 1..B.

        0 before the first, B after the last.
        """
        buckets = np.searchsorted(self.bucket_boundaries, timestamps, side="right")
        return np.minimum(buckets, self.num_time_buckets)

    def popularity_codes(self, item_ids: np.ndarray, timestamps: np.ndarray) -> np.ndarray:
        """Codes of the items in the bucket before each time's own, so that none leaks the present.

        Returns:
            int16 of the inputs' common shape, 0 where the item was not seen in that bucket.
        """
        before = np.maximum(self.time_bucket(timestamps).astype(np.int64) - 1, 0)
        buckets, items = np.broadcast_arrays(before, item_ids.astype(np.int64))
        codes = look_up(self.pop_starts, self.pop_slots, buckets.ravel(), items.ravel())
        return codes.reshape(items.shape)

    def save(self, folder: Path) -> None:
        """Write every array and the monthly table."""
        needed = sum(getattr(self, name).nbytes for name in _ARRAYS)
        with atomic_folder(folder, needed_bytes=needed) as out:
            for name in _ARRAYS:
                np.save(out / f"{name}.npy", getattr(self, name))
            pq.write_table(self.monthly, out / "monthly.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open; the arrays are memory-mapped."""
        folder = Path(folder)
        arrays = {name: open_array(folder / f"{name}.npy") for name in _ARRAYS}
        return cls(**arrays, monthly=open_table(folder / "monthly.parquet"))


def compute_item_statistics(
    interactions: Interactions, params: "ItemStatisticsParams", *, scratch: Path | None = None
) -> ItemStatistics:
    """Count the training events with DuckDB, which spills to disk beyond its memory limit.

    Args:
        interactions: whose events are counted.
        params: give the number of time buckets and that limit.
        scratch: folder of DuckDB's files; the machine's temporary one where None.

    Raises:
        InputError: that limit is too low even so, or the disk has no room.
    """
    from model.dataset.event_database import EventDatabase, duckdb_folder

    with (
        duckdb_folder("item_statistics", scratch) as folder,
        EventDatabase(interactions, params.memory_limit_gib, folder) as events,
    ):
        counts, first, last = events.by_item(interactions.num_items)
        boundaries = bucket_boundaries(*events.by_time(), params.num_time_buckets)
        popularity = events.popularity(boundaries)
        monthly = events.by_month()
    pop_starts, pop_slots = build_table(*popularity, len(boundaries) - 1)
    seen = counts.sum(axis=1) > 0
    return ItemStatistics(
        counts=counts,
        log_q=_log_q(counts.sum(axis=1)),
        first_timestamp=first,
        last_timestamp=last,
        life_cycle=np.concatenate([_calendar(first, seen), _calendar(last, seen)], axis=1),
        bucket_boundaries=boundaries,
        pop_starts=pop_starts,
        pop_slots=pop_slots,
        monthly=monthly,
    )


def bucket_boundaries(times: np.ndarray, counts: np.ndarray, num_buckets: int) -> np.ndarray:
    """Boundaries of equal-frequency buckets.

    Boundary i is the time of event floor(i * T / num_buckets) of all T in order of time, the last
    one is beyond the latest event; equal boundaries are merged.

    Args:
        times: (D,) distinct times, ascending.
        counts: (D,) events at each.
        num_buckets: how many are wanted.
    """
    if not len(times):
        return np.zeros(1, np.int64)
    ends = np.cumsum(counts)
    ranks = np.arange(num_buckets, dtype=np.int64) * int(ends[-1]) // num_buckets
    starts = times[np.searchsorted(ends, ranks, side="right")]
    return np.unique(np.append(starts, times[-1] + 1)).astype(np.int64)


def _log_q(popularity: np.ndarray) -> np.ndarray:
    """(I + 1,) float32; a uniform share where nothing was seen at all."""
    if not popularity.any():
        return np.full(len(popularity), -np.log(max(1, len(popularity) - 1)), np.float32)
    smallest = popularity[popularity > 0].min()
    shares = np.maximum(popularity, smallest) / popularity.sum()
    return np.log(shares).astype(np.float32)


def _calendar(timestamps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, 3) int16 codes of year, month and day in UTC; 0 where not seen."""
    days = timestamps.astype("datetime64[s]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    years = days.astype("datetime64[Y]")
    codes = np.stack(
        [
            np.clip(years.astype(np.int64) + 1970 - FIRST_YEAR, 1, LAST_YEAR_CODE),
            (months - years).astype(np.int64) + 1,
            (days - months).astype(np.int64) + 1,
        ],
        axis=1,
    )
    return np.where(seen[:, None], codes, 0).astype(np.int16)
