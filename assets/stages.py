"""What ``dvc.yaml`` says of each asset: its inputs, the code that makes it, its parameters.

``dvc.yaml`` is the single source of this. Dagster's code versions, the lineage files and whether an
artefact is up to date are all derived from it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from assets.hashing import HashCache, hash_bytes

_DATA = "data/"
_CODE = ("model/", "assets/")


@dataclass(frozen=True)
class Stage:
    """One stage, or all stages of one ``foreach``.

    Attributes:
        name: of the stage and of the asset.
        inputs: names of the assets that it reads.
        code: files and folders of the repository whose content determines the output.
        sections: dotted keys of the parameter file that it reads.
        foreach: dotted key of the parameter file that lists the asset's partitions; None where
            it has none.
    """

    name: str
    inputs: tuple[str, ...]
    code: tuple[str, ...]
    sections: tuple[str, ...]
    foreach: str | None

    @property
    def partitioned(self) -> bool:
        """Whether there is one stage per entry of a list."""
        return self.foreach is not None

    def partitions(self, values: Mapping[str, Any]) -> list[str]:
        """The partitions that the parameters name; none where the stage has none."""
        return [] if self.foreach is None else list(_value_at(values, self.foreach))

    def target(self, partition: str | None) -> str:
        """DVC's name of the stage, or of one partition of it."""
        return self.name if partition is None else f"{self.name}@{partition}"

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of this stage's sections, by dotted key."""
        return {section: _value_at(values, section) for section in self.sections}

    def code_hash(self, root: Path) -> str:
        """One hash over all code that this stage depends on."""
        return hash_code(root, self.code)

    def version(self, root: Path, values: Mapping[str, Any]) -> str:
        """Dagster's code version: changes with the code and with the stage's parameters."""
        return recipe_version(self.code_hash(root), self.parameters(values))


def recipe_version(code: str, params: Mapping[str, Any]) -> str:
    """One version for a hash of code and the values of a stage's parameters."""
    return hash_bytes(json.dumps([code, params], sort_keys=True).encode())


@cache
def load_stages(root: Path) -> dict[str, Stage]:
    """Every stage of the repository's ``dvc.yaml``, by name, upstream first."""
    document = yaml.safe_load((root / "dvc.yaml").read_text())
    stages = {name: _read(name, entry) for name, entry in document["stages"].items()}
    return {stage.name: stage for stage in _upstream_first(stages)}


@cache
def hash_code(root: Path, paths: tuple[str, ...]) -> str:
    """:func:`read_code`, cached: the code that this process has imported does not change."""
    return read_code(root, paths)


def read_code(root: Path, paths: tuple[str, ...]) -> str:
    """The hash of files and folders of the repository: their names and their contents.

    Hidden files are left out: editors keep one beside each open file.
    """
    hashes = HashCache(None)
    entries = [[path, hashes.hash_visible(root / path)] for path in sorted(paths)]
    return hash_bytes(json.dumps(entries).encode())


def _read(name: str, entry: Mapping[str, Any]) -> Stage:
    body = entry.get("do", entry)
    deps: list[str] = body["deps"]
    inputs = (dep.removeprefix(_DATA) for dep in deps if dep.startswith(_DATA))
    return Stage(
        name=name,
        inputs=tuple(inputs),
        code=tuple(dep for dep in deps if dep.startswith(_CODE)),
        sections=tuple(body.get("params", ())),
        foreach=entry["foreach"].removeprefix("${").removesuffix("}") if "do" in entry else None,
    )


def _upstream_first(stages: Mapping[str, Stage]) -> list[Stage]:
    ordered: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        for name in stage.inputs:
            if name not in ordered:
                add(stages[name])
        ordered[stage.name] = stage

    for stage in stages.values():
        add(stage)
    return list(ordered.values())


def _value_at(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        found = found[key]
    return found
