"""Which parts of a submission can be made again from a revision and parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.lineage_text import parents_of
from assets.manifest_file import Manifest
from assets.stages import Stage
from assets.workspace import CHAMPION, CODEBOOK, RAW_DATA, SUBMISSION
from model.errors import InputError


@dataclass(frozen=True)
class RebuildPlan:
    """How a submission is made again.

    Attributes:
        taken: assets that are not made but copied or restored by their hashes.
        targets: assets that are made, upstream first.
        why: one sentence per reason to take something instead of making it.
    """

    taken: frozenset[str]
    targets: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True)
class Revision:
    """The checked-out code and the parameters of a manifest.

    Attributes:
        root: of the working tree.
        stages: of its ``dvc.yaml``.
        params: as plain values.
        seed: of every random choice.
    """

    root: Path
    stages: Mapping[str, Stage]
    params: Mapping[str, Any]
    seed: int

    def obstacle(self, key: str, entry: Mapping[str, Any]) -> str | None:
        """Why this revision does not reproduce an artefact as recorded; None if it does."""
        path, _, replaced = key.partition("#")
        stage = self.stages.get(path.split("/")[0])
        if stage is None or entry["code"] != stage.code_hash(self.root):
            return f"{path} was made with code that the revision does not have"
        if entry["params"] != stage.parameters(self.params) or entry["seed"] != self.seed:
            return f"{path} was made with other parameters"
        return f"{path} was made from data that has been replaced" if replaced else None


def plan_rebuild(
    manifest: Manifest,
    parents: Mapping[str, str],
    revision: Revision,
    *,
    raw_lost: bool,
    frozen_lost: bool,
) -> RebuildPlan:
    """Plan to make everything again, except a champion of earlier code, parameters or data.

    Args:
        manifest: of the submission.
        parents: of the submission itself.
        revision: the code and parameters to make it with.
        raw_lost: whether the raw files of that time are gone; then what was read from them is
            taken.
        frozen_lost: whether the published codebook that the submission's extends is gone; then the
            submission's is taken.

    Raises:
        InputError: something that only the submission's own run can have made needs code that
            was never committed.
    """
    artifacts = manifest["artifacts"]
    taken, why = set(), []
    if raw_lost:
        taken |= {name for name, stage in revision.stages.items() if RAW_DATA in stage.inputs}
        taken.add(RAW_DATA)
        why.append("its raw files are gone, what was read from them was found by hash")
    if frozen_lost:
        taken.add(CODEBOOK)
        why.append("the codebook that its own extends is gone, its own was found by hash")
    for key in _line(artifacts, [name for name in parents if not _is_champion(name)]):
        obstacle = None if _asset(key) in taken else revision.obstacle(key, artifacts[key])
        if obstacle:
            raise InputError(
                f"{manifest['id']}: {obstacle} {manifest['git']['revision'][:12]} (uncommitted "
                "changes); commit before making submissions that must be rebuilt"
            )
    for key in _line(artifacts, [name for name in parents if _is_champion(name)]):
        obstacle = None if _asset(key) in taken else revision.obstacle(key, artifacts[key])
        if obstacle and CHAMPION not in taken:
            taken.add(CHAMPION)
            why.append(f"its champion is of an earlier run ({obstacle}) and was found by hash")
    targets = dict.fromkeys(_needed(revision.stages, SUBMISSION, taken))
    return RebuildPlan(frozenset(taken), tuple(targets), tuple(why))


def _line(artifacts: Mapping[str, Any], names: list[str]) -> list[str]:
    """The keys of these artefacts and of all their ancestors."""
    found: dict[str, None] = {}

    def add(key: str) -> None:
        if key not in found and key in artifacts:
            found[key] = None
            for parent in parents_of(artifacts, key):
                add(parent)

    for name in names:
        add(name)
    return list(found)


def _needed(stages: Mapping[str, Stage], name: str, taken: set[str]) -> Iterator[str]:
    if name not in taken:
        for parent in stages[name].inputs:
            yield from _needed(stages, parent, taken)
        yield name


def _asset(key: str) -> str:
    return key.partition("#")[0].split("/")[0]


def _is_champion(key: str) -> bool:
    return _asset(key) == CHAMPION
