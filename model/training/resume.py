"""The state of an unfinished training: complete or not there at all, the last two are kept.

A state holds weights, optimiser, average of weights, best weights, random generators of every
process, position and history. It carries a fingerprint of the task; one of another task is not
taken.
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
    """One moment of a training.

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
        """Write a state, then forget all but the newest two."""
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
        """The newest whole state of this task, or None.

        What a killed writer left is removed, a living one's stays. A damaged state is removed too:
        it would count among the two that are kept, and be named as the last good one.

        Raises:
            InputError: a state must not be read.
        """
        remove_partial_folders(self.folder / "step-*")
        for step in reversed(self._steps()):
            path = self._path(step)
            try:
                state = self._read(path)
            except PermissionError as error:
                raise unreadable(path, error) from None
            except InputError as error:
                logger.warning("%s; the state is removed, the one before it is taken", error)
                shutil.rmtree(path, ignore_errors=True)
                continue
            if state.facts["fingerprint"] == self.fingerprint:
                return state
            logger.info("%s: of other inputs, parameters or code, starting anew", path)
            self.remove()
            return None
        return None

    def newest(self) -> Path | None:
        """Folder of the newest state, None where there is none."""
        steps = self._steps()
        return self._path(steps[-1]) if steps else None

    def remove(self) -> None:
        """Forget everything, once the training is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> State:
        facts = read_json(path / FACTS)
        try:
            groups, _ = facts["groups"], facts["fingerprint"]
        except (KeyError, TypeError) as error:
            raise InputError(f"{path / FACTS}: not the facts of a state ({error!r})") from None
        tensors = {name: load_tensors(path / f"{name}.safetensors") for name in groups}
        return State(tensors, facts)

    def _steps(self) -> list[int]:
        if not self.folder.exists():
            return []
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"
