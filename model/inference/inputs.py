"""The artefacts that inference reads, opened from a data folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.inference.recommender import Recommender, prepare_recommender
from model.network.checkpoint import Checkpoint
from model.params import CascadeParams
from model.tokenizer.codebook import Codebook


@dataclass(frozen=True)
class InferenceInputs:
    """One recommender and everything that it was made for; all lazily opened."""

    checkpoint: Checkpoint
    codebook: Codebook
    interactions: Interactions
    statistics: ItemStatistics
    embeddings: dict[str, ModalityEmbedding]

    @classmethod
    def load(cls, data: Path, model: Path, modalities: list[str]) -> Self:
        """Open the artefacts of a data folder.

        Args:
            data: holds one folder per artefact.
            model: holds the checkpoint and the codebook: ``data`` for the newest, the champion's
                folder for what submissions are made from.
            modalities: the partitions of modality_embeddings.

        Raises:
            InputError: one of them is missing or damaged.
        """
        folder = data / "modality_embeddings"
        return cls(
            checkpoint=Checkpoint.load(model / "recommender_checkpoint"),
            codebook=Codebook.load(model / "codebook"),
            interactions=Interactions.load(data / "interactions"),
            statistics=ItemStatistics.load(data / "item_statistics"),
            embeddings={name: ModalityEmbedding.load(folder / name) for name in modalities},
        )

    def recommender(self, params: CascadeParams, device: torch.device) -> Recommender:
        """Lay out the catalogue and the trie."""
        return prepare_recommender(
            self.checkpoint,
            self.codebook,
            self.interactions,
            self.statistics,
            self.embeddings,
            params,
            device,
        )
