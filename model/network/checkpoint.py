"""A trained network as an artefact: weights in safetensors, all else in JSON, no pickles."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.artifact import atomic_folder, read_json, write_json
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.raw_files import readable
from model.dataset.schema import FeatureSchema, describe_features
from model.errors import DISK_FULL, InputError
from model.network.onepiece import OnePiece

if TYPE_CHECKING:
    from model.params import NetworkParams

WEIGHTS, FACTS = "weights.safetensors", "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is needed to build a network around them.

    Attributes:
        weights: by name.
        network_params: the ``network`` section that it was built with.
        schema: of the data that it was trained on.
        metadata: ``history`` (rows of equal keys), ``semantic_ids`` (a hash of those that were
            learned, None for none), ``num_parameters`` and whatever training adds.
        folder: that it was read from, for messages; None where it was not read from one.
    """

    weights: dict[str, Tensor]
    network_params: dict[str, Any]
    schema: FeatureSchema
    metadata: dict[str, Any]
    folder: Path | None = None

    def build(self) -> OnePiece:
        """The network in evaluation mode, on the CPU.

        Raises:
            InputError: the configuration lacks a value, or the weights do not fit it.
        """
        network = OnePiece(self.schema, section(self.network_params, self._file(FACTS)))
        try:
            network.load_state_dict(self.weights, strict=True)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise InputError(
                f"{self._file(WEIGHTS)}: the weights belong to another configuration than that in "
                f"{FACTS}: {first}; train it again"
            ) from None
        return network.eval()

    def can_read(
        self,
        interactions: Interactions,
        statistics: ItemStatistics,
        embeddings: Mapping[str, ModalityEmbedding],
    ) -> bool:
        """Whether these are the items and features that the network was trained on.

        Args:
            interactions: gives items, users and their features.
            statistics: gives the time buckets.
            embeddings: the modalities, at least those that the network looks at.
        """
        names = self.network_params["features"]["modalities"]
        looked_at = {name: embeddings[name] for name in names if name in embeddings}
        given = describe_features(interactions, statistics, looked_at)
        return given.vocabulary_hash == self.schema.vocabulary_hash

    def require_data(
        self,
        interactions: Interactions,
        statistics: ItemStatistics,
        embeddings: Mapping[str, ModalityEmbedding],
    ) -> None:
        """Require the items and features that the network was trained on.

        Others have the same integer ids, and would be mistaken for them.

        Args:
            interactions: as for :meth:`can_read`.
            statistics: likewise.
            embeddings: likewise.

        Raises:
            InputError: they differ.
        """
        if not self.can_read(interactions, statistics, embeddings):
            raise InputError(
                f"{self.folder or 'the checkpoint'}: trained on other items or features than those "
                "of the present interactions, statistics and modalities; train again on these, or "
                "restore those that it was trained on"
            )

    @property
    def nbytes(self) -> int:
        """Bytes of all weights: about the size of both files."""
        return sum(tensor.nbytes for tensor in self.weights.values())

    def save(self, folder: Path) -> None:
        """Write both files; the folder appears whole or not at all."""
        with atomic_folder(folder, needed_bytes=self.nbytes) as out:
            self.write(out)

    def write(self, folder: Path) -> None:
        """Write both files into an existing folder (part of a larger artefact)."""
        save_tensors(self.weights, folder / WEIGHTS)
        facts = {
            "network_params": self.network_params,
            "schema": self.schema.to_json(),
            "metadata": self.metadata,
        }
        write_json(folder / FACTS, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a checkpoint.

        Raises:
            InputError: missing, unreadable, truncated or damaged, with the file's name.
        """
        folder = Path(folder)
        with readable(folder / FACTS):
            facts = read_json(folder / FACTS)
        try:
            schema = FeatureSchema.from_json(facts["schema"])
            network_params, metadata = facts["network_params"], facts["metadata"]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{folder / FACTS}: written by another version ({error}); train it again"
            ) from None
        with readable(folder / WEIGHTS):
            weights = load_tensors(folder / WEIGHTS)
        return cls(weights, network_params, schema, metadata, folder)

    def _file(self, name: str) -> str:
        return "the checkpoint" if self.folder is None else str(self.folder / name)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the permissions of any new file here.

    The library by itself would leave a file that only its owner may read.

    Raises:
        OSError: no space is left, which the library reports without an error number.
    """
    path.touch()
    permissions = path.stat().st_mode
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, str(path))
    except SafetensorError as error:
        for number in DISK_FULL:
            if f"os error {number})" in str(error):
                raise OSError(number, os.strerror(number), str(path)) from error
        raise
    path.chmod(permissions)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        InputError: missing, truncated or damaged.
        PermissionError: it may not be read, which the library would report as not found.
    """
    try:
        path.open("rb").close()
        return load_file(str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; materialise the checkpoint again") from None
    except PermissionError:
        raise
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: truncated or damaged ({error}); materialise the checkpoint again"
        ) from None


def section(values: Mapping[str, Any], source: str = FACTS) -> "NetworkParams":
    """Wrap plain values as a parameter section with attributes; needs no pydantic.

    A missing attribute raises ``InputError``.

    Args:
        values: of the ``network`` section.
        source: the file that they are from, for messages.
    """
    return cast("NetworkParams", _Section(values, source, "network_params"))


def weights_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


class _Section:
    """The values of a section, and of nested sections, as attributes."""

    def __init__(self, values: Mapping[str, Any], source: str, key: str) -> None:
        self._source, self._key = source, key
        for name, value in values.items():
            nested = isinstance(value, Mapping)
            setattr(self, name, _Section(value, source, f"{key}.{name}") if nested else value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Python's own look-ups, such as copy's
            raise AttributeError(name)
        raise InputError(
            f"{self._source}: written by another version ({self._key}.{name} is missing); "
            "train it again"
        )
