"""The parquet files of the public layout: their columns, types and names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.csr import offsets_of
from model.dataset.synthesizer.item_features import Vocabulary

EVENT = pa.struct([("item_id", pa.int64()), ("action_type", pa.int32()), ("timestamp", pa.int64())])
FEATURE = pa.struct([("cold_start", pa.int32()), ("feature_value", pa.string())])


def part_path(folder: Path, index: int) -> Path:
    """Path of a folder's n-th file."""
    return folder / f"part-{index:05d}.parquet"


def write_table(path: Path, columns: dict[str, pa.Array]) -> None:
    """Write one file; equal columns give equal bytes."""
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_batches(folder: Path, batches: Iterator[pa.RecordBatch]) -> None:
    """Write one file per batch; vectors do not compress, so no dictionary is tried."""
    folder.mkdir(parents=True)
    for index, batch in enumerate(batches):
        table = pa.Table.from_batches([batch])
        pq.write_table(table, part_path(folder, index), compression="zstd", use_dictionary=False)


def sequence_columns(
    first_re_id: int,
    lengths: np.ndarray,
    item_re_ids: np.ndarray,
    action_types: np.ndarray,
    timestamps: np.ndarray,
) -> dict[str, pa.Array]:
    """``user_id`` and ``seq`` of consecutive users; events are flat, in order of users."""
    events = pa.StructArray.from_arrays(
        [
            pa.array(item_re_ids.astype(np.int64)),
            pa.array(action_types.astype(np.int32)),
            pa.array(timestamps.astype(np.int64)),
        ],
        fields=list(EVENT),
    )
    offsets = offsets_of(lengths).astype(np.int32)
    return {
        "user_id": pa.array(first_re_id + np.arange(len(lengths), dtype=np.int64)),
        "seq": pa.ListArray.from_arrays(pa.array(offsets), events),
    }


def item_columns(re_ids: np.ndarray, codes: dict[str, np.ndarray]) -> dict[str, pa.Array]:
    """``item_id`` and the features, null where an item has none; ascending in ``item_id``."""
    order = np.argsort(re_ids, kind="stable")
    columns = {"item_id": pa.array(re_ids[order].astype(np.int64))}
    for name, code in codes.items():
        columns[name] = pa.array(code[order].astype(np.int64), mask=code[order] == 0)
    return columns


def candidate_columns(
    raw_ids: np.ndarray,
    codes: dict[str, np.ndarray],
    unseen: dict[str, np.ndarray],
    vocabularies: dict[str, Vocabulary],
    rng: np.random.Generator,
) -> dict[str, pa.Array]:
    """``item_id`` (raw), ``retrieval_id`` 0.., and a struct per feature; ascending in ``item_id``.

    A value that training items have is given as its code, another one as its raw value.
    """
    order = np.argsort(raw_ids, kind="stable")
    columns = {
        "item_id": pa.array(raw_ids[order]),
        "retrieval_id": pa.array(np.arange(len(order), dtype=np.int32)),
    }
    for name, code in codes.items():
        spare = vocabularies[name].spare
        strange = spare[rng.integers(len(spare), size=len(order))]
        new, missing = unseen[name][order], code[order] == 0
        text = pa.array(np.where(new, strange, code[order]), mask=missing).cast(pa.string())
        flag = pa.array(new.astype(np.int32), mask=missing)
        columns[name] = pa.StructArray.from_arrays([flag, text], fields=list(FEATURE))
    return columns
