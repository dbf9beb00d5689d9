"""The artefacts that one training reads, opened from a data folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from torch import Tensor

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.schema import FeatureSchema, describe_features
from model.errors import InputError
from model.network.checkpoint import Checkpoint
from model.tokenizer.codebook import Codebook
from model.training import ENCODER

if TYPE_CHECKING:
    from model.params import Params


@dataclass(frozen=True)
class TrainingInputs:
    """Everything that a training reads, except the parameters.

    Attributes:
        interactions: events and features.
        statistics: of the training part.
        embeddings: the modalities that the network reads.
        codes: (num_items + 1, levels) semantic IDs, None where the training has no such loss.
        sid_sizes: codebook sizes, empty without codes.
        initial_weights: of the encoder to start from, None to start fresh.
        content: a hash of the artefacts that were opened.
    """

    interactions: Interactions
    statistics: ItemStatistics
    embeddings: Mapping[str, ModalityEmbedding]
    codes: np.ndarray | None
    sid_sizes: tuple[int, ...]
    initial_weights: dict[str, Tensor] | None
    content: str

    @cached_property
    def schema(self) -> FeatureSchema:
        """What the network is built for."""
        return describe_features(
            self.interactions, self.statistics, self.embeddings, self.sid_sizes
        )

    @classmethod
    def load(cls, data: Path, params: "Params", asset: str) -> Self:
        """Open what ``encoder_checkpoint`` or ``recommender_checkpoint`` is trained from.

        Args:
            data: holds one folder per artefact.
            params: of the whole pipeline.
            asset: which of the two.

        Raises:
            InputError: an artefact is missing or damaged, or of other items than the rest; there
                is nothing to train on.
        """
        training = getattr(params, asset)
        names = params.network.features.modalities
        folders = {name: data / "modality_embeddings" / name for name in names}
        codebook, encoder = None, None
        if training.loss.sid_weights:
            folders["codebook"] = data / "codebook"
            codebook = Codebook.load(folders["codebook"])
        if training.initialize_from_encoder:
            folders[ENCODER] = data / ENCODER
            encoder = Checkpoint.load(folders[ENCODER])
        for name in ("interactions", "item_statistics"):
            folders[name] = data / name
        interactions = Interactions.load(folders["interactions"])
        if not (interactions.train_end > interactions.offsets[:-1]).any():
            raise InputError(
                f"{folders['interactions']}: there is no training event; the raw files hold no "
                "sequences, or the split leaves none to train on"
            )
        statistics = ItemStatistics.load(folders["item_statistics"])
        embeddings = {name: ModalityEmbedding.load(folders[name]) for name in names}
        if encoder is not None:
            encoder.require_data(interactions, statistics, embeddings)
        if codebook is not None and codebook.num_items != interactions.num_items:
            raise InputError(
                f"{folders['codebook']}: has the semantic IDs of {codebook.num_items:,} items and "
                f"{folders['interactions']} holds {interactions.num_items:,}; materialise the "
                "codebook again"
            )
        if codebook is not None and len(codebook.sizes) != len(training.loss.sid_weights):
            raise InputError(
                f"{folders['codebook']}: has {len(codebook.sizes)} levels and "
                f"{asset}.loss.sid_weights has {len(training.loss.sid_weights)} entries; "
                "materialise the codebook again, or give a weight for each of its levels"
            )
        return cls(
            interactions=interactions,
            statistics=statistics,
            embeddings=embeddings,
            codes=None if codebook is None else codebook.codes,
            sid_sizes=() if codebook is None else tuple(codebook.sizes),
            initial_weights=None if encoder is None else encoder.weights,
            content=_content(folders),
        )


def _content(folders: Mapping[str, Path]) -> str:
    """A hash that changes with the artefacts: of their lineage files, where there are any."""
    digest = hashlib.blake2b(digest_size=16)
    for name, folder in sorted(folders.items()):
        lineage = folder / "lineage.json"
        known = lineage.read_bytes() if lineage.exists() else b""
        digest.update(json.dumps(name).encode() + known)
    return digest.hexdigest()
