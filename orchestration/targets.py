"""What `onepiece materialize` is asked for: assets and partitions by name, upstream first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assets.stages import Stage
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params


@dataclass(frozen=True)
class Target:
    """An asset, or one partition of it."""

    asset: str
    partition: str | None

    def __str__(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}@{self.partition}"


def targets_of(workspace: Workspace, names: Sequence[str], *, only: bool) -> list[Target]:
    """What a selection means, upstream first.

    Raises:
        InputError: a name is unknown, or a point of the scaling study cannot be trained.
    """
    targets = parse_targets(workspace, names or workspace.main_line)
    targets = targets if only else with_upstream(workspace, targets)
    _require_points([one for one in targets if one.asset == "scaling_points"], workspace.params)
    return targets


def _require_points(targets: Sequence[Target], params: Params) -> None:
    """Refuse points that do not fit the parameters now: the turn of the last is hours away."""
    if targets:
        from model.scaling.grid import Point  # imports PyTorch

        for target in targets:
            Point.parse(str(target.partition)).apply(params)


def parse_targets(workspace: Workspace, names: Sequence[str]) -> list[Target]:
    """Names as the user gave them, upstream first.

    Raises:
        InputError: no such asset or partition, or an asset whose list of partitions is empty.
    """
    wanted: set[Target] = set()
    for name in names:
        asset, _, partition = name.partition("@")
        stage = workspace.stages.get(asset)
        if stage is None:
            known = ", ".join(workspace.stages)
            raise InputError(f"{asset}: no such asset; there are {known}")
        keys = workspace.partitions(stage)
        if not keys:
            raise InputError(
                f"{asset}: {stage.foreach} of {workspace.params_file} is empty; list there what is "
                "to be made (params/ has examples)"
            )
        if partition and partition not in keys:
            raise InputError(
                f"{name}: no such partition; {workspace.params_file} has "
                f"{', '.join(key for key in keys if key) or 'none of this asset'}"
            )
        wanted.update(Target(asset, key) for key in keys if not partition or key == partition)
    return _in_order(workspace, wanted)


def with_upstream(workspace: Workspace, targets: Iterable[Target]) -> list[Target]:
    """The targets and everything that they are made from, upstream first."""
    found = set(targets)

    def add(stage: Stage) -> None:
        for name in stage.inputs:
            upstream = workspace.stages[name]
            found.update(Target(name, key) for key in workspace.partitions(upstream))
            add(upstream)

    for asset in {target.asset for target in targets}:
        add(workspace.stages[asset])
    return _in_order(workspace, found)


def _in_order(workspace: Workspace, targets: Iterable[Target]) -> list[Target]:
    assets = list(workspace.stages)

    def place(target: Target) -> tuple[int, int]:
        keys = workspace.partitions(workspace.stages[target.asset])
        return assets.index(target.asset), keys.index(target.partition)

    return sorted(targets, key=place)
