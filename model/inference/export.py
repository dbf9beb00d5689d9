"""Users' and items' vectors with their semantic IDs, in a folder that other systems can read."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from model.artifact import NOT_FOUND, atomic_folder, require_folder, write_json
from model.errors import InputError
from model.inference.recommender import Recommender
from model.inference.shards import USERS_PER_SHARD

ITEMS, USERS, FACTS, README = "items.parquet", "users.parquet", "export.json", "README.md"
MODEL_FOLDERS = ("recommender_checkpoint", "codebook")
_ITEMS_AT_ONCE = 65_536
_README = """\
# A model made by OnePiece

| file | rows | columns |
| --- | --- | --- |
| `items.parquet` | the {items:,} items that may be recommended | `raw_item_id`; `vector`, \
{dim} float32 of length 1; `sid`, {levels} codes from 1, all 0 where an item has no semantic ID; \
`training_events`; `log_q`, the logarithm of its share of them |
| `users.parquet` | the {users:,} users, in the order of a submission | `raw_user_id`; `vector`, \
likewise, after all of the user's events |
| `recommender_checkpoint/` | | the network: weights in safetensors, its shape in JSON |
| `codebook/` | | centroids of each level; `published.parquet` has the semantic IDs of all \
items |
| `export.json` | | what all this was made from: hashes, parameters, seed, code revision, packages |

A user's score of an item is the dot product of their vectors, minus {logq_weight} times `log_q`:
the `score` of a submission whose beam weight is 0. The legal semantic IDs, which form the trie of a
beam search, are the distinct values of `sid`.

```python
import numpy as np
import pyarrow.parquet as pq

items, users = pq.read_table("items.parquet"), pq.read_table("users.parquet")
item_vectors = items["vector"].combine_chunks().flatten().to_numpy().reshape(-1, {dim})
user_vector = users["vector"][0].values.to_numpy()
scores = item_vectors @ user_vector - {logq_weight} * items["log_q"].to_numpy()
print(users["raw_user_id"][0], items["raw_item_id"].take(np.argsort(-scores)[:10]).to_pylist())
```

Unlike a submission, this filters out no items that a user has seen, and applies no cap.
"""


def require_export_folder(folder: Path) -> None:
    """Refuse a folder where other files would be lost, before anything is computed.

    Raises:
        InputError: it cannot be created or written to, or holds something other than an export.
    """
    require_folder(folder, writable=True)
    require_folder(folder.parent, writable=True)  # where it is written before it takes its place
    if folder.is_mount():
        raise InputError(f"{folder}: a mount point cannot be replaced; name a folder inside it")
    if folder.exists() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise InputError(
            f"{folder}: holds something that is no export; name a new folder, or an earlier export "
            "to be replaced"
        )


def export_model(
    recommender: Recommender, model: Path, folder: Path, *, origin: Mapping[str, Any]
) -> dict[str, int]:
    """Write a model, its vectors and their origin to a folder, atomically.

    Users are encoded in the same batches as for a submission, so that these are the vectors that it
    ranks by; they are written shard by shard.

    Args:
        recommender: the model with its data.
        model: holds the ``recommender_checkpoint`` and ``codebook`` that it was opened from.
        folder: see :func:`require_export_folder`; replaced.
        origin: what all of it was made from; becomes part of ``export.json``.

    Returns:
        ``items``, ``users``, ``dim`` and ``levels``.

    Raises:
        InputError: a file of the model is missing, or there is too little space.
    """
    catalogue, interactions = recommender.catalogue, recommender.interactions
    dim, levels = catalogue.vectors.shape[1], catalogue.sids.shape[1]
    counts = {
        "items": len(catalogue),
        "users": interactions.num_users,
        "dim": dim,
        "levels": levels,
    }
    needed = 4 * dim * (len(catalogue) + interactions.num_users) + _size(model)
    with atomic_folder(folder, needed_bytes=needed) as out:
        for name in MODEL_FOLDERS:
            shutil.copytree(model / name, out / name)
        _write_items(recommender, out / ITEMS)
        _write_users(recommender, out / USERS)
        logq_weight = recommender.params.logq_weight
        readme = _README.format(**counts, logq_weight=logq_weight)
        (out / README).write_text(readme, encoding="utf-8")
        facts = {"champion": model.name, "logq_weight": logq_weight, "origin": dict(origin)}
        write_json(out / FACTS, counts | facts)
    return counts


def _size(model: Path) -> int:
    """Bytes of the model's files."""
    for name in MODEL_FOLDERS:
        if not (model / name).is_dir():
            raise InputError(f"{model / name}: {NOT_FOUND}")
    paths = [path for name in MODEL_FOLDERS for path in (model / name).rglob("*")]
    return sum(path.stat().st_size for path in paths)


def _write_items(recommender: Recommender, path: Path) -> None:
    catalogue, raw_ids = recommender.catalogue, recommender.interactions.raw_item_ids
    log_q = catalogue.log_q.cpu().numpy()
    schema = pa.schema(
        {
            "raw_item_id": raw_ids.type,
            "vector": pa.list_(pa.float32(), catalogue.vectors.shape[1]),
            "sid": pa.list_(pa.int32(), catalogue.sids.shape[1]),
            "training_events": pa.int64(),
            "log_q": pa.float32(),
        }
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for begin in range(0, len(catalogue), _ITEMS_AT_ONCE):
            rows = slice(begin, begin + _ITEMS_AT_ONCE)
            columns = [
                raw_ids.take(pa.array(catalogue.item_ids[rows] - 1)),
                _lists(catalogue.vectors[rows]),
                _lists(catalogue.sids[rows].int()),
                catalogue.counts[rows],
                log_q[rows],
            ]
            file.write_table(pa.table(columns, schema=schema))


def _write_users(recommender: Recommender, path: Path) -> None:
    raw_ids, known = recommender.interactions.raw_user_ids, recommender.catalogue.vectors
    dim = known.shape[1]
    schema = pa.schema({"raw_user_id": raw_ids.type, "vector": pa.list_(pa.float32(), dim)})
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for begin in range(0, len(raw_ids), USERS_PER_SHARD):
            users = np.arange(begin, min(begin + USERS_PER_SHARD, len(raw_ids)))
            vectors = known.new_empty(len(users), dim)
            for indices, batch in recommender.batches("submission", users):
                vectors[torch.from_numpy(indices - begin)] = recommender.encode(batch)[1]
            columns = [raw_ids.slice(begin, len(users)), _lists(vectors)]
            file.write_table(pa.table(columns, schema=schema))


def _lists(values: Tensor) -> pa.Array:
    """(N, W) -> N lists of a fixed width."""
    flat = pa.array(values.cpu().numpy().ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
