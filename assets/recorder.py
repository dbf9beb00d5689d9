"""The interface to whatever versions the data folder: DVC, or nothing."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Edited = Callable[[], str | None]  # which inputs of an artefact were edited while it was made


class Recorder(Protocol):
    """Keeps versions of the artefacts in the data folder.

    Attributes:
        counts_folders: whether a stage that reads all partitions depends on their folder as a
            whole.
    """

    counts_folders: bool

    def exclusive(self, target: str) -> AbstractContextManager[None]:
        """Keep others from a stage's files while they are being written."""
        ...

    def record(self, target: str, edited: Edited) -> None:
        """Record a stage's new outputs, and their inputs unless these were edited meanwhile."""
        ...

    def unrecorded(self, targets: Sequence[str]) -> list[str]:
        """The targets whose present outputs have not been recorded."""
        ...


class NoRecorder:
    """For a data folder that is not the repository's own."""

    counts_folders = False

    def exclusive(self, target: str) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, target: str, edited: Edited) -> None:
        """Do nothing: the folder is not versioned."""

    def unrecorded(self, targets: Sequence[str]) -> list[str]:
        return []
