"""What a blocking check refused is remembered, so that nothing is built on it.

A refusal is of one artefact, by the hash of its lineage: what DVC puts in its place is another, one
that had passed.
"""

from dataclasses import dataclass
from pathlib import Path

from assets.lineage import Lineage
from model.artifact import atomic_write

NOT_JUDGED = "the run that made it ended before the check; materialise it again"


@dataclass(frozen=True)
class Refusals:
    """The refusals of one data folder.

    Attributes:
        folder: where they lie, a file for each.
    """

    folder: Path

    def reason(self, target: str, lineage: Lineage) -> str | None:
        """Why an artefact was refused; None when it passed."""
        file = self._file(target, lineage)
        return file.read_text() if file.exists() else None

    def note(self, target: str, lineage: Lineage, reason: str | None) -> None:
        """Remember, or forget, that a blocking check failed: nothing may be built on it."""
        file = self._file(target, lineage)
        if reason is None:
            file.unlink(missing_ok=True)
        else:
            atomic_write(file, reason)

    def await_judgement(self, target: str, lineage: Lineage) -> None:
        """Refuse what is about to appear until it is judged, though its maker dies before."""
        atomic_write(self._file(target, lineage), NOT_JUDGED)

    def _file(self, target: str, lineage: Lineage) -> Path:
        return self.folder / f"{target}.{lineage.hash}"
