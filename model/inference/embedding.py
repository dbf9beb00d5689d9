"""Item embeddings of the catalogue: one unit vector per item, computed in chunks."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.artifact import allocate, require_free_space
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.item_features import ItemFeatureStore
from model.network.checkpoint import Checkpoint
from model.network.onepiece import OnePiece
from model.network.thread_invariance import thread_invariant
from model.network.unit import unit
from model.progress import track

ITEMS_AT_ONCE = 8192


def embed_items(
    checkpoint: Checkpoint,
    features: ItemFeatureStore,
    device: torch.device,
    *,
    scratch: Path | None = None,
) -> FusedEmbeddings:
    """Embed every item of the catalogue, 1..num_items.

    The matrix is memory-mapped from an unnamed temporary file, so that it may be larger than the
    memory; it is lost with the returned value unless that is saved.

    Args:
        checkpoint: the encoder.
        features: of all items.
        device: to compute on.
        scratch: folder of the temporary file; None for the system's default.

    Returns:
        ``matrix`` (num_items, dim) float32, rows of length 1, in the order of the ids.

    Raises:
        InputError: too little space in ``scratch``.
    """
    network = checkpoint.build().to(device)
    item_ids = np.arange(1, checkpoint.schema.num_items + 1, dtype=np.int32)
    matrix: np.ndarray | None = None
    done = 0
    for vectors in embed_chunks(network, features, item_ids, device):
        if matrix is None:
            file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 (the memory map holds it)
            shape = (len(item_ids), vectors.shape[1])
            size = 4 * shape[0] * shape[1]
            if scratch is not None:  # saving it needs a second copy there
                require_free_space(scratch, 2 * size, what="fused_embeddings")
            allocate(file.fileno(), size)
            matrix = np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
        matrix[done : done + len(vectors)] = vectors.cpu().numpy()
        done += len(vectors)
    assert matrix is not None, "a catalogue holds at least one item"
    return FusedEmbeddings(item_ids=item_ids, matrix=matrix)


def embed_chunks(
    network: OnePiece, features: ItemFeatureStore, item_ids: np.ndarray, device: torch.device
) -> Iterator[Tensor]:
    """Unit vectors of some items, (chunk, dim) float32 at a time, in the given order."""
    starts = range(0, len(item_ids), ITEMS_AT_ONCE)
    for start in track(starts, total=len(starts), what="embedding items", unit="chunk"):
        ids = torch.from_numpy(item_ids[start : start + ITEMS_AT_ONCE].astype(np.int64))
        with torch.inference_mode(), thread_invariant(len(ids)):
            vectors = unit(network.embed_items(features.gather(ids.to(device))))
        yield vectors
