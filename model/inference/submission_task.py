"""The key of a submission's shards: a hash of everything that decides the recommendations."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model.dataset.recommendable import blocked_items
from model.inference.inputs import InferenceInputs
from model.inference.shards import fingerprint
from model.params import CascadeParams
from model.sources import hash_sources


def submission_task(inputs: InferenceInputs, params: CascadeParams, beam_weight: float) -> str:
    """A hash of everything that decides the recommendations, the code included.

    Only modalities that the network reads are hashed; the others, however large, matter through
    the codebook alone. Raw ids only name items; of them the blocked ones matter.
    """
    checkpoint, interactions = inputs.checkpoint, inputs.interactions
    looked_at = checkpoint.network_params["features"]["modalities"]
    decisive = {
        "params": params.model_dump(),
        "beam_weight": beam_weight,
        "network_params": checkpoint.network_params,
        "weights": checkpoint.weights,
        "codes": inputs.codebook.codes,
        "blocked": blocked_items(interactions, params.blocked_items),
        "interactions": interactions,
        "statistics": inputs.statistics,
        "embeddings": {name: one for name, one in inputs.embeddings.items() if name in looked_at},
    }
    return fingerprint([*_parts(decisive), hash_sources()])


def _parts(value: Any) -> Iterator[str | np.ndarray]:
    """Flatten a value into its parts, each after its name; arrays stay memory-mapped."""
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
