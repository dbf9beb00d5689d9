"""Opening a store of ten million users: time and resident memory.

``python -m tests.benchmarks.bench_store`` writes a synthetic store (a few GB under --folder,
removed at the end) and opens it in a process of its own: the columns, the rows to train on and
their order, and one batch of 512 rows with its item features. After each it prints the time since
the start and the resident memory above that of the process with its libraries: its own, and pages
of the files, which all processes of the machine share. Fails where opening takes more than 5 s or
1 GiB of both.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from model.artifact import write_json
from model.dataset.features import ArrayColumn, FeatureTable, ScalarColumns
from model.dataset.interactions import Interactions, write_strings
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.popularity_table import build_table
from model.dataset.sequences import SequenceDataset
from model.params import Params
from model.training.order import Order

USERS_AT_ONCE = 250_000
ITEM_SCALARS, USER_SCALARS, USER_ARRAYS = 13, 4, 4
FIRST_SECOND, SECONDS, BUCKETS = 1_727_000_000, 20_000_000, 8192
LONGEST_SECONDS, MOST_BYTES = 5.0, 2**30
BATCH = 512


def write_events(folder: Path, users: int, per_user: int, items: int) -> None:
    """All columns of events and users: one part is drawn, and shifted from part to part."""
    rng = np.random.default_rng(0)
    events = users * per_user
    shapes = {
        "item_ids": (np.int32, rng.integers(1, items, USERS_AT_ONCE * per_user, np.int32)),
        "action_types": (np.int8, rng.integers(0, 3, USERS_AT_ONCE * per_user, np.int8)),
        "timestamps": (np.int64, _times(rng, per_user)),
    }
    for name, (dtype, part) in shapes.items():
        column = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (events,))
        for number, first in enumerate(range(0, events, len(part))):
            rows = column[first : first + len(part)]
            rows[:] = part[: len(rows)]
            if name == "item_ids":
                rows[:] = (rows + number * 7919) % items + 1
        column.flush()
    offsets = np.arange(users + 1, dtype=np.int64) * per_user
    columns = {
        "offsets": offsets,
        "train_end": offsets[1:] - 2,
        "validation_event": offsets[1:] - 2,
        "test_event": offsets[1:] - 1,
        "target_actions": np.full(users, -1, np.int8),
        "candidate_item_ids": np.arange(1, items + 1, 5, dtype=np.int32),
    }
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)


def _times(rng: np.random.Generator, per_user: int) -> np.ndarray:
    times = FIRST_SECOND + rng.integers(0, SECONDS, (USERS_AT_ONCE, per_user))
    return np.sort(times, axis=1).ravel()


def write_table(folder: Path, rows: int, scalars: int, arrays: int) -> None:
    """Columns of codes; lists of 0 to 3."""
    folder.mkdir()
    code = np.arange(rows, dtype=np.int32) % 997
    lengths = np.arange(rows, dtype=np.int64) % 4
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    lists = ArrayColumn(offsets, np.arange(offsets[-1], dtype=np.int32) % 19 + 1)
    names = [str(100 + n) for n in range(scalars + arrays)]
    FeatureTable(
        num_rows=rows,
        scalars=ScalarColumns.side_by_side(dict.fromkeys(names[:scalars], code), rows),
        arrays=dict.fromkeys(names[scalars:], lists),
        vocabulary_sizes=dict.fromkeys(names, 1000),
    ).write(folder)


def write_store(folder: Path, users: int, per_user: int, items: int) -> None:
    """Interactions and item statistics."""
    store = folder / "interactions"
    store.mkdir()
    write_events(store, users, per_user, items)
    write_table(store / "items", items + 1, ITEM_SCALARS, 0)
    write_table(store / "users", users + 1, USER_SCALARS, USER_ARRAYS)
    for name, count in (("raw_item_ids", items), ("raw_user_ids", users)):
        write_strings(store / f"{name}.arrow", pa.array(np.arange(count)))
    write_json(store / "interactions.json", {"num_known_items": items})
    seen = np.arange(1, items + 1, 100)
    buckets = np.arange(1, BUCKETS + 1).repeat(len(seen))
    codes = np.ones(len(buckets), np.int16)
    pop_starts, pop_slots = build_table(buckets, np.tile(seen, BUCKETS), codes, BUCKETS)
    ItemStatistics(
        counts=np.ones((items + 1, 3), np.int64),
        log_q=np.full(items + 1, -np.log(items), np.float32),
        first_timestamp=np.full(items + 1, FIRST_SECOND),
        last_timestamp=np.full(items + 1, FIRST_SECOND + SECONDS),
        life_cycle=np.ones((items + 1, 6), np.int16),
        bucket_boundaries=FIRST_SECOND + np.linspace(0, SECONDS, BUCKETS + 1).astype(np.int64),
        pop_starts=pop_starts,
        pop_slots=pop_slots,
        monthly=pa.table({"month": ["2025-05"], "events": [users * per_user]}),
    ).save(folder / "item_statistics")


def resident() -> dict[str, int]:
    """Bytes of this process: ``RssAnon`` its own, ``RssFile`` pages of files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0][:-1]: int(line[1]) * 1024 for line in lines if line[0].startswith("Rss")}


def open_store(folder: Path) -> None:
    """Open and print; exits with 1 beyond a limit."""
    params = Params.load(Path("params.yaml")).network.model_dump()
    before, started = resident(), time.perf_counter()

    def tell(what: str) -> float:
        seconds, now = time.perf_counter() - started, resident()
        own, files = (now[name] - before[name] for name in ("RssAnon", "RssFile"))
        print(
            f"{what:32s} {seconds:5.2f} s {own / 2**20:6,.0f} MiB + {files / 2**20:6,.0f} of files"
        )
        return max(seconds / LONGEST_SECONDS, (own + files) / MOST_BYTES)

    interactions = Interactions.load(folder / "interactions")
    statistics = ItemStatistics.load(folder / "item_statistics")
    tell("interactions and statistics")
    store = ItemFeatureStore(interactions, statistics, {}, torch.device("cpu"))
    dataset = SequenceDataset(interactions, statistics, store, params)
    worst = tell("data set")
    order = Order(dataset.training_users(), BATCH, 1, 0)
    tell("users with a training event")
    rows = order.rows(0)
    tell("order of an epoch")
    batch = dataset.assemble(dataset.training_windows(rows))
    for name in interactions.items.scalars:
        batch.items.scalar(name)
    batch.items.life_cycle()
    tell(f"a batch of {len(rows)} rows")
    sys.exit(worst > 1)


def main() -> None:
    """Write, open, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--events-per-user", type=int, default=30)
    parser.add_argument("--items", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder, started = Path(name), time.perf_counter()
        size = (given.users, given.events_per_user, given.items)
        codes = []
        for target, arguments in ((write_store, (folder, *size)), (open_store, (folder,))):
            process = spawn.Process(target=target, args=arguments)
            process.start()
            process.join()
            codes.append(process.exitcode)
            if target is write_store:
                print(f"written in {time.perf_counter() - started:.0f} s: {size[0]:,} users")
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(any(codes))  # one that was killed has a code below 0


if __name__ == "__main__":
    main()
