"""The published IDs of a generation, and which of today's items are among them.

Importable without a clustering library: it is also needed before a training.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from model.artifact import read_json
from model.dataset.arrow import compute as pc
from model.errors import InputError
from model.tokenizer.codebook import Codebook


def open_published(folder: str) -> Codebook:
    """Open ``codebook.frozen_from``.

    Raises:
        InputError: it holds no codebook, or not the one that was published.
    """
    if not (Path(folder) / "codebook.json").exists():
        raise InputError(
            f"codebook.frozen_from: {folder} holds no codebook; name a copy of a published "
            "codebook folder, or null"
        )
    frozen, named = Codebook.load(Path(folder)), read_json(Path(folder) / "codebook.json")
    damage = find_damage(frozen)
    if damage is not None:
        what = f"published.parquet {damage}"
    elif named.get("generation", frozen.generation) != frozen.generation:
        what = f"the centroids are not those of generation {named['generation']}"
    else:
        return frozen
    raise InputError(
        f"codebook.frozen_from: {folder} is not as it was published, {what}; copy the folder again"
    )


def codes_of(published: pa.Table) -> np.ndarray:
    """(n, L) int32 from 1."""
    columns = [f"sid{level}" for level in range(1, published.num_columns)]
    return np.stack([published[name].to_numpy() for name in columns], axis=1).astype(np.int32)


def find_damage(frozen: Codebook) -> str | None:
    """What is wrong with the table of published IDs, as the rest of a sentence; None if nothing."""
    table, sizes = frozen.published, np.asarray(frozen.sizes)
    names = ["raw_id", *(f"sid{level}" for level in range(1, len(sizes) + 1))]
    if sorted(table.column_names) != sorted(names):
        return f"has the columns {', '.join(table.column_names)} and not {', '.join(names)}"
    empty = [name for name in names if table[name].null_count]
    if empty:
        return f"has empty cells in {', '.join(empty)}"
    codes, raw_ids = codes_of(table), table["raw_id"]
    unknown = np.flatnonzero(((codes < 1) | (codes > sizes)).any(axis=1))
    if len(unknown):
        row = unknown[0]
        return (
            f"gives {raw_ids[row].as_py()} the ID {codes[row].tolist()}, beyond sizes "
            f"{sizes.tolist()}"
        )
    if pc.count_distinct(raw_ids).as_py() < len(raw_ids):
        return "names an item twice"
    given = frozen.codes[(frozen.codes > 0).all(axis=1)]  # the table begins with these items
    if not np.array_equal(codes[: len(given)], given):
        return "gives other IDs than codes.npy"
    return None


def recognise(frozen: Codebook, raw_item_ids: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Published codes of today's items, and which published rows have no item today."""
    known = frozen.published["raw_id"].combine_chunks()
    today = raw_item_ids.cast(pa.large_string())
    rows = pc.fill_null(pc.index_in(today, value_set=known), -1).to_numpy().astype(np.int64)
    published = np.zeros((len(today) + 1, len(frozen.sizes)), np.int32)
    here = np.flatnonzero(rows >= 0)
    published[here + 1] = codes_of(frozen.published)[rows[here]]
    return published, pc.invert(pc.is_in(known, value_set=today))
