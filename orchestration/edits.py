"""Notices that the parameter file or ``dvc.yaml`` was edited after the definitions were built.

Sensors, schedule and code versions are bound to what these files said when they were loaded.
"""

import logging
from pathlib import Path

from assets.hashing import hash_bytes
from assets.stages import load_stages
from assets.workspace import Workspace
from model.errors import InputError
from orchestration.automation import require_schedule
from orchestration.workspace import open_workspace

logger = logging.getLogger("dagster")


class Edits:
    """The two files as they were loaded, and as they were last looked at."""

    def __init__(self, workspace: Workspace) -> None:
        """Take the present contents of the files as what is loaded."""
        self._workspace = workspace
        self._pipeline = workspace.root / "dvc.yaml"
        self._loaded = self._seen = self._contents()

    def found(self) -> bool:
        """Whether the definitions should be rebuilt; an edit is reported once.

        Files that cannot be loaded are logged once, and the next edit is waited for.
        """
        before, self._seen = self._seen, self._contents()
        if self._seen in (before, self._loaded):
            return False
        try:
            self._try_to_load()
        except InputError as error:
            logger.warning("%s; until then, what was loaded before stays in use", error)
            return False
        self._loaded = self._seen
        logger.info("%s, or dvc.yaml, was edited: reloading it", self._workspace.params_file)
        return True

    def _contents(self) -> list[str | None]:
        return [_hash(self._workspace.params_file), _hash(self._pipeline)]

    def _try_to_load(self) -> None:
        """Read what the definitions are built from.

        Raises:
            InputError: one of the files cannot be used.
        """
        workspace = open_workspace(self._workspace.params_file, self._workspace.data)
        require_schedule(workspace)
        load_stages.cache_clear()
        try:
            for stage in workspace.stages.values():
                stage.parameters(workspace.values)
                workspace.partitions(stage)
        except Exception as error:  # an incomplete file can raise anything
            reason = " ".join(str(error).split())
            raise InputError(f"{self._pipeline}: not a pipeline: {reason}; fix it") from error


def _hash(file: Path) -> str | None:
    try:
        return hash_bytes(file.read_bytes())
    except OSError:  # an editor may be replacing it
        return None
