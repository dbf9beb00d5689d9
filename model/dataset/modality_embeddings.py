"""One modality's item vectors: a memory-mapped float16 matrix, joined to the items by raw id.

Only valid vectors are in the matrix; every item has a state that tells why it has none. The matrix
is never in memory as a whole: ids are read first, so that each vector's row is known when it is
streamed.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from model.artifact import atomic_folder, open_array, read_json, write_json
from model.dataset.arrow import compute as pc
from model.dataset.interactions import Interactions
from model.dataset.vector_chunk import VectorSource
from model.dataset.vector_files import find_vectors
from model.dataset.vector_matrix import VectorMatrix
from model.dataset.vector_states import MISSING, STATE_NAMES, VALID, judge
from model.errors import InputError
from model.progress import track

if TYPE_CHECKING:  # both need packages that a training machine may lack
    from model.dataset.raw_data import RawData
    from model.params import ModalityEmbeddingsParams

logger = logging.getLogger("onepiece")

TEXT = "text"  # the built-in modality
_UNREAD = -1


@dataclass(frozen=True)
class ModalityEmbedding:
    """The vectors of one modality.

    Attributes:
        name: the modality's id.
        item_ids: (N,) int32 ascending, items with a valid vector.
        matrix: (N, width) float16, their vectors.
        states: (num_items + 1,) int8, see ``vector_states``; row 0 is missing.
        row_of: (num_items + 1,) int32, row in ``matrix`` or -1.
        counts: rows of the files (``rows``), those of no known item (``unmatched``), repeated
            ones (``duplicates``), and items by state.
    """

    name: str
    item_ids: np.ndarray
    matrix: np.ndarray
    states: np.ndarray
    row_of: np.ndarray
    counts: dict[str, int]

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    def save(self, folder: Path) -> None:
        """Write a copy; the matrix is streamed from its memory map."""
        with atomic_folder(folder, needed_bytes=self.matrix.nbytes) as out:
            np.save(out / "matrix.npy", self.matrix)
            _write_index(out, self.name, self.states, self.counts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open, memory-mapped."""
        folder = Path(folder)
        facts = read_json(folder / "modality.json")
        arrays = {
            name: open_array(folder / f"{name}.npy")
            for name in ("item_ids", "matrix", "states", "row_of")
        }
        return cls(name=facts["name"], counts=facts["counts"], **arrays)


def _write_index(out: Path, name: str, states: np.ndarray, counts: dict[str, int]) -> None:
    item_ids = np.flatnonzero(states == VALID).astype(np.int32)
    row_of = np.full(len(states), -1, np.int32)
    row_of[item_ids] = np.arange(len(item_ids))
    for key, array in (("item_ids", item_ids), ("states", states), ("row_of", row_of)):
        np.save(out / f"{key}.npy", array)
    write_json(out / "modality.json", {"name": name, "counts": counts})


def read_modality_embedding(
    raw: "RawData",
    interactions: Interactions,
    modality: str,
    params: "ModalityEmbeddingsParams",
    out_folder: Path,
) -> ModalityEmbedding:
    """Read a modality's vectors from the raw files into ``out_folder``.

    Invalid vectors are recorded by state and kept out of the matrix; nothing is replaced.

    Raises:
        InputError: no files of this modality, damaged files, an id with two different vectors, or
            not a single item covered.
    """
    raw.require_unchanged()
    source = _source(raw, interactions, modality, params)
    item_of_row = _match(source, interactions.raw_item_ids)
    if not item_of_row.any():
        reason = f"none of its {len(item_of_row):,} ids is known" if len(item_of_row) else "no rows"
        raise InputError(
            f"{raw.root}: modality {modality} covers no item, {reason}; vectors and items must "
            "come from the same release"
        )
    width = _width(source, modality, raw.root)
    with_rows = np.zeros(interactions.num_items + 1, bool)
    with_rows[item_of_row] = True
    with_rows[0] = False
    items = np.flatnonzero(with_rows)
    with atomic_folder(out_folder, needed_bytes=len(items) * width * 2) as out:
        matrix = VectorMatrix(out / "matrix.npy", items, width)
        states = _fill(matrix, source, item_of_row, interactions)
        valid = states == VALID
        if not valid.any():
            found = np.bincount(states[items]).tolist()
            named = {STATE_NAMES[state]: count for state, count in enumerate(found) if count}
            raise InputError(
                f"{raw.root}: modality {modality} covers no item, none of its vectors is valid "
                f"({named}); get its files again or take it out of modality_embeddings.modalities"
            )
        matrix.keep(valid)
        counts = _counts(states, item_of_row, len(items))
        _write_index(out, modality, states, counts)
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
    logger.info("modality %s: %s", modality, told)
    return ModalityEmbedding.load(out_folder)


def _source(
    raw: "RawData", interactions: Interactions, modality: str, params: "ModalityEmbeddingsParams"
) -> VectorSource:
    if modality != TEXT:
        return find_vectors(raw.format, raw.root, modality)
    if raw.format != "recbole":
        raise InputError(
            f"{raw.root}: modality text is made from the text columns of RecBole's .item file and "
            f"the format is {raw.format}; take it out of modality_embeddings.modalities"
        )
    from model.dataset.text_modality import TextVectors

    return TextVectors.fit(
        raw.root, interactions.raw_item_ids, params.text_width, params.text_ngram_max
    )


def _match(source: VectorSource, raw_item_ids: pa.Array) -> np.ndarray:
    """(rows,) int32 item id of every row, 0 where its raw id is unknown."""
    ids = pa.chunked_array(list(source.ids()), pa.large_string())
    known = raw_item_ids.cast(pa.large_string())
    found = pc.fill_null(pc.index_in(ids, value_set=known), -1)
    return found.to_numpy().astype(np.int32) + 1


def _width(source: VectorSource, modality: str, root: Path) -> int:
    """The most common length; ties go to that of the folder's name, which may be wrong.

    Reading stops as soon as the rows so far confirm the name.
    """
    found: Counter[int] = Counter()
    for chunk in source.chunks():
        lengths = np.diff(chunk.offsets)[~chunk.null]
        lengths, counts = np.unique(lengths[lengths > 0], return_counts=True)
        found.update(dict(zip(lengths.tolist(), counts.tolist(), strict=True)))
        if found and _commonest(found, source.named_width) == source.named_width:
            break
    if not found:
        raise InputError(
            f"{root}: modality {modality} covers no item, every vector is null or empty; get its "
            "files again or take it out of modality_embeddings.modalities"
        )
    width = _commonest(found, source.named_width)
    if source.named_width not in (None, width):
        logger.warning(
            "modality %s is %d wide, not %d as its name says", modality, width, source.named_width
        )
    return width


def _commonest(found: Counter[int], named: int | None) -> int:
    return max(found, key=lambda length: (found[length], length == named, -length))


def _fill(
    matrix: VectorMatrix,
    source: VectorSource,
    item_of_row: np.ndarray,
    interactions: Interactions,
) -> np.ndarray:
    """Stream the vectors into their rows; returns (num_items + 1,) int8 states."""
    states = np.full(interactions.num_items + 1, _UNREAD, np.int8)
    first = 0
    for chunk in track(source.chunks(), total=None, what="reading vectors", unit="chunk"):
        chunk_states, vectors = judge(chunk, matrix.width)
        items = item_of_row[first : first + len(chunk_states)]
        first += len(items)
        fresh = np.zeros(len(items), bool)
        fresh[np.unique(items, return_index=True)[1]] = True
        fresh &= (states[items] == _UNREAD) & (items > 0)
        valid = chunk_states == VALID
        states[items[fresh]] = chunk_states[fresh]
        matrix.write(items[fresh & valid], vectors[fresh[valid]])
        repeated = ~fresh & (items > 0)
        differs = repeated & (states[items] != chunk_states)
        compared = np.flatnonzero(repeated & valid & ~differs)
        again = vectors[(repeated & ~differs)[valid]]
        differs[compared] = (matrix.read(items[compared]) != again).any(axis=1)
        if differs.any():
            item = int(items[differs.argmax()])
            raise InputError(
                f"{chunk.source}: id {interactions.raw_item_ids[item - 1]} has two different "
                "vectors; keep one row per id"
            )
    states[states == _UNREAD] = MISSING
    return states


def _counts(states: np.ndarray, item_of_row: np.ndarray, items_with_rows: int) -> dict[str, int]:
    unmatched = int((item_of_row == 0).sum())
    by_state = np.bincount(states[1:], minlength=len(STATE_NAMES))
    return {
        "rows": len(item_of_row),
        "unmatched": unmatched,
        "duplicates": len(item_of_row) - unmatched - items_with_rows,
    } | {name: int(count) for name, count in zip(STATE_NAMES, by_state, strict=True)}
