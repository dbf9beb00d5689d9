"""Resume states of an unfinished training, written atomically; the last two are kept.

A state holds weights, optimiser, average of weights, best weights, random generators of every
process, position and history. It carries a fingerprint of the task; a state of another task is not
used.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from model.artifact import atomic_folder, read_json, write_json
from model.dataset.raw_files import unreadable
from model.errors import InputError
from model.network.checkpoint import load_tensors, save_tensors
from model.partial_folders import remove_partial_folders

logger = logging.getLogger("onepiece")

KEPT = 2
FACTS = "state.json"


@dataclass(frozen=True)
class State:
    """A snapshot of a training.

    Attributes:
        tensors: groups of named tensors, one safetensors file each.
        facts: plain values; ``step`` is the number of finished steps.
    """

    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]


class StateFolder:
    """Where the states of one task are kept between runs."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, state: State) -> None:
        """Write a state, then remove all but the newest two."""
        step = state.facts["step"]
        needed = sum(t.nbytes for group in state.tensors.values() for t in group.values())
        with atomic_folder(self._path(step), needed_bytes=needed) as out:
            for name, group in state.tensors.items():
                save_tensors(group, out / f"{name}.safetensors")
            facts = {
                **state.facts,
                "fingerprint": self.fingerprint,
                "groups": sorted(state.tensors),
            }
            write_json(out / FACTS, facts)
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(self._path(old), ignore_errors=True)

    def load(self) -> State | None:
        """The newest complete state of this task, or None.

        Leftovers of killed writers are removed, a living one's stay. A damaged state is removed
        too: it would count among the two that are kept, and be reported as the last good one.

        Raises:
            InputError: a state may not be read.
        """
        remove_partial_folders(self.folder, "step-*")
        for step in reversed(self._steps()):
            path = self._path(step)
            try:
                state = self._read(path)
            except PermissionError as error:
                raise unreadable(path, error) from None
            except InputError as error:
                logger.warning("%s; removing this state and using the one before it", error)
                shutil.rmtree(path, ignore_errors=True)
                continue
            if state.facts["fingerprint"] == self.fingerprint:
                return state
            logger.info("%s: of other inputs, parameters or code; starting from step 0", path)
            self.remove()
            return None
        return None

    def newest(self) -> Path | None:
        """Folder of the newest state, None where there is none."""
        steps = self._steps()
        return self._path(steps[-1]) if steps else None

    def remove(self) -> None:
        """Remove all states, once the training is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> State:
        facts = read_json(path / FACTS)
        try:
            groups, _ = facts["groups"], facts["fingerprint"]
        except (KeyError, TypeError) as error:
            raise InputError(f"{path / FACTS}: not a training state ({error!r})") from None
        tensors = {name: load_tensors(path / f"{name}.safetensors") for name in groups}
        return State(tensors, facts)

    def _steps(self) -> list[int]:
        if not self.folder.exists():
            return []
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"
