"""The artefacts that inference reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.network.checkpoint import Checkpoint
from model.tokenizer.codebook import Codebook


@dataclass(frozen=True)
class InferenceInputs:
    """One recommender, in memory, and the data that it serves, memory-mapped.

    Attributes:
        checkpoint: the recommender; gives user vectors, item vectors and semantic IDs.
        codebook: the one that it was trained with, semantic IDs of all items.
        interactions: events, split, candidates; users in the order of a submission.
        statistics: of the training part.
        embeddings: the modalities.
    """

    checkpoint: Checkpoint
    codebook: Codebook
    interactions: Interactions
    statistics: ItemStatistics
    embeddings: Mapping[str, ModalityEmbedding]

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
