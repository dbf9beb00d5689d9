"""What tells one submission's shards from another's: a hash of all that decides the answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.filters import blocked_items
from model.inference.shards import fingerprint
from model.network.checkpoint import Checkpoint
from model.params import CascadeParams
from model.tokenizer.codebook import Codebook

SOURCE = Path(__file__).parents[1]  # of this library


def submission_task(
    checkpoint: Checkpoint,
    codebook: Codebook,
    interactions: Interactions,
    statistics: ItemStatistics,
    embeddings: Mapping[str, ModalityEmbedding],
    params: CascadeParams,
    beam_weight: float,
) -> str:
    """A hash of everything that decides the recommendations, the code included.

    Of the modalities only those are read that the network looks at; the others, wide as they are,
    have done their part in the codebook. Raw ids name answers; only the blocked ones decide any.
    """
    looked_at = checkpoint.network_params["features"]["modalities"]
    decisive = {
        "params": params.model_dump(),
        "beam_weight": beam_weight,
        "network_params": checkpoint.network_params,
        "weights": checkpoint.weights,
        "codes": codebook.codes,
        "blocked": blocked_items(interactions, params.blocked_items),
        "interactions": interactions,
        "statistics": statistics,
        "embeddings": {name: one for name, one in embeddings.items() if name in looked_at},
    }
    sources = (path.read_bytes() for path in sorted(SOURCE.rglob("*.py")))
    return fingerprint([*_parts(decisive), *sources])


def _parts(value: Any) -> Iterator[str | np.ndarray]:
    """All that a value is made of, every part after its name; arrays stay memory-mapped."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, torch.Tensor):
        yield value.contiguous().view(torch.uint8).numpy()
    elif is_dataclass(value):
        yield from _parts({field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield name
            yield from _parts(value[name])
    elif not isinstance(value, (pa.Array, pa.Table)):
        yield json.dumps(value)
