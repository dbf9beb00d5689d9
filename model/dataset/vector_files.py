"""Find a modality's vectors in each layout.

Every source yields ids once (cheap) and vectors as chunks of rows (streamed), in the same order.
"""

import re
from pathlib import Path

from model.dataset.json_vectors import JsonVectors
from model.dataset.parquet_vectors import ParquetVectors
from model.dataset.pickled_vectors import PickledVectors
from model.dataset.raw_files import files_named, refuse_lookalikes, visible_files
from model.dataset.shard_files import JSON, shard_files
from model.dataset.vector_chunk import VectorSource
from model.errors import InputError

_ENDINGS = (".pkl", "_parquet", "")


def find_vectors(layout: str, root: Path, modality: str) -> VectorSource:
    """Find a modality's files.

    Raises:
        InputError: not there; the message lists the modalities that are.
    """
    if layout == "recbole":
        return _find_recbole(root, modality)
    folder = root / ("creative_emb" if layout == "tencent_jsonl" else "mm_emb")
    pattern = re.compile(rf"emb_{re.escape(modality)}_(\d+)(_parquet)?(\.pkl)?")
    names = [path.name for path in visible_files(folder)]
    matches = [match for match in map(pattern.fullmatch, names) if match]
    if len(matches) > 1:
        raise InputError(
            f"{folder}: modality {modality} is there more than once "
            f"({', '.join(match[0] for match in matches)}); keep one"
        )
    if matches:
        return _open(folder / matches[0][0], int(matches[0][1]))
    if not folder.is_dir():
        refuse_lookalikes(root, folder.name)
    refuse_lookalikes(folder, *(f"emb_{modality}_<width>{end}" for end in _ENDINGS))
    raise InputError(
        f"{folder}: no vectors of modality {modality} (found: {', '.join(names) or 'nothing'}); "
        "copy them there or take it out of modality_embeddings.modalities"
    )


def _open(path: Path, named_width: int) -> VectorSource:
    if path.suffix == ".pkl":
        return PickledVectors.read(path, named_width)
    form, files = shard_files(path)
    if form == JSON:
        return JsonVectors(files, named_width)
    return ParquetVectors(files, "anonymous_cid", named_width)


def _find_recbole(root: Path, modality: str) -> VectorSource:
    found = files_named(root, f"<name>.{modality}.parquet")
    if not found:
        others = ", ".join(path.name for path in visible_files(root, ".parquet")) or "none"
        raise InputError(
            f"{root}: no file <name>.{modality}.parquet (embedding files there: {others}); add it "
            "with columns item_id and emb, or take it out of modality_embeddings.modalities"
        )
    return ParquetVectors(found, "item_id", None)
