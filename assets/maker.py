"""The plain function behind an asset: how its artefact is made, opened, described and checked."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import dagster as dg

from assets.checks import Check
from assets.machine import machine_name
from assets.peak_memory import peak_memory_bytes
from assets.report_metadata import measured
from assets.workspace import Workspace
from model.artifact import Artifact

GIVEN = ("params", "workspace", "partition", "folder")
_KNOWN: dict[str, "Maker"] = {}


@dataclass(frozen=True)
class Shown:
    """What Dagster's pages show of an artefact.

    Attributes:
        metadata: of its materialisation.
        results: of its checks, in their order.
    """

    metadata: dict[str, Any]
    results: list[dg.AssetCheckResult]


@dataclass(frozen=True)
class Maker:
    """The function behind an asset, and how its result is shown.

    Attributes:
        function: the plain function.
        deps: further upstream assets, which the function opens itself or not at all.
        describe: metadata of the finished artefact.
        checks: what must hold of it.
        pool: a resource, such as the GPU, that only one asset may use at a time.
        backend: names what computes it on this machine, where that depends on the machine.
        publish: moves a finished folder into place, given the run's id; None replaces the
            existing one.
    """

    function: Callable[..., Artifact]
    deps: Sequence[str]
    describe: Callable[[Any], Mapping[str, Any]]
    checks: Sequence[Check]
    pool: str | None
    backend: Callable[[], str] | None
    publish: Callable[[Workspace, Path, str], None] | None

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def returns(self) -> type[Artifact]:
        return get_type_hints(self.function)["return"]

    @property
    def loaded(self) -> dict[str, Any]:
        """Annotations of the upstream assets that are opened, by name."""
        hints = get_type_hints(self.function)
        names = inspect.signature(self.function).parameters
        return {name: hints[name] for name in names if name not in GIVEN}

    @property
    def upstream(self) -> list[str]:
        return [*self.loaded, *(name for name in self.deps if name not in self.loaded)]

    def make(self, workspace: Workspace, partition: str | None, staging: Path) -> None:
        """Run the function and leave its artefact, without lineage, in an empty folder."""
        given = {
            "params": workspace.params,
            "workspace": workspace,
            "partition": partition,
            "folder": staging,
        }
        wanted = inspect.signature(self.function).parameters
        arguments = {name: value for name, value in given.items() if name in wanted}
        for name, annotation in self.loaded.items():
            arguments[name] = _load(workspace, name, annotation)
        made = self.function(**arguments)
        if "folder" not in wanted:
            made.save(staging)

    def show(
        self, workspace: Workspace, partition: str | None, *, seconds: float, reused: bool
    ) -> Shown:
        """Open an existing artefact, describe it and run its checks.

        Args:
            workspace: that holds it.
            partition: of the asset.
            seconds: that it took.
            reused: whether it was found unchanged.
        """
        folder = workspace.current_folder(self.name, partition)
        value = self.returns.load(folder)
        memory = peak_memory_bytes()
        facts = measured(folder, workspace.data, seconds=seconds, memory=memory, reused=reused)
        if not reused:
            facts["machine"] = machine_name(with_gpus=self.pool is not None)
            if self.backend is not None:
                facts["backend"] = self.backend()
        results = [check.run(value, workspace) for check in self.checks]
        return Shown({**facts, **self.describe(value)}, results)


def remember(maker: Maker) -> None:
    """Register a maker for :func:`maker_of`."""
    _KNOWN[maker.name] = maker


def maker_of(asset: str) -> Maker:
    """Import an asset's module and return its maker."""
    importlib.import_module(f"assets.{asset}")
    return _KNOWN[asset]


def _load(workspace: Workspace, name: str, annotation: Any) -> Any:
    """Open an upstream artefact; all partitions, by name, where the annotation is a dict."""
    if not workspace.stages[name].partitioned:
        return annotation.load(workspace.input_folder(name))
    kind = get_args(annotation)[1]
    keys = workspace.stages[name].partitions(workspace.values)
    return {key: kind.load(workspace.input_folder(name, key)) for key in keys}
