"""Who keeps versions of what lies in the data folder: DVC, or nobody."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Edited = Callable[[], str | None]  # what an artefact is made from and was edited meanwhile


class Recorder(Protocol):
    """Who keeps versions of what lies in the data folder (DVC, or nobody).

    Attributes:
        counts_folders: whether what reads all partitions depends on their folder as a whole.
    """

    counts_folders: bool

    def exclusive(self, target: str) -> AbstractContextManager[None]:
        """Keep others from a stage's files while they are being written."""
        ...

    def record(self, target: str, edited: Edited) -> None:
        """Take note of a stage's new outputs, and of what they were made from if that stands."""
        ...

    def unrecorded(self, targets: Sequence[str]) -> list[str]:
        """Those whose outputs, as they are, have not been noted."""
        ...


class NoRecorder:
    """For a data folder that is not the repository's own."""

    counts_folders = False

    def exclusive(self, target: str) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, target: str, edited: Edited) -> None:
        """Nothing to note: nobody but us knows the folder."""

    def unrecorded(self, targets: Sequence[str]) -> list[str]:
        return []
