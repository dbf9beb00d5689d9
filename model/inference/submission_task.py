"""What tells one submission's shards from another's: a hash of all that decides the answers."""

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

    Of the modalities only those are read that the network looks at; the others, wide as they are,
    have done their part in the codebook. Raw ids name answers; only the blocked ones decide any.
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
