"""A record of what blocking checks refused, so that nothing is built on it.

A refusal is keyed by the hash of the artefact's lineage: what DVC restores in its place is another
artefact, one that had passed.
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
        folder: holds them, one file each.
    """

    folder: Path

    def reason(self, target: str, lineage: Lineage) -> str | None:
        """Why an artefact was refused; None when it passed."""
        file = self._file(target, lineage)
        return file.read_text(encoding="utf-8") if file.exists() else None

    def note(self, target: str, lineage: Lineage, reason: str | None) -> None:
        """Record why a blocking check failed, so that nothing is built on it; None clears it."""
        file = self._file(target, lineage)
        if reason is None:
            file.unlink(missing_ok=True)
        else:
            atomic_write(file, reason)

    def await_judgement(self, target: str, lineage: Lineage) -> None:
        """Refuse a new artefact until it is checked, even if the run that made it dies before."""
        atomic_write(self._file(target, lineage), NOT_JUDGED)

    def _file(self, target: str, lineage: Lineage) -> Path:
        return self.folder / f"{target}.{lineage.hash}"
