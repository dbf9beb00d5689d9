"""`onepiece costs`: how long each artefact took, with how much memory, on which machine."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.lineage import Lineage
from assets.workspace import Workspace
from model.artifact import require_folder
from model.dataset.interactions import Interactions
from model.errors import InputError
from orchestration.follow_up import follow_up
from orchestration.instance import open_unchanged
from orchestration.targets import Target, parse_targets
from orchestration.text_table import columns

_EVENTS_AT_ONCE = 100


@dataclass(frozen=True)
class Cost:
    """What making one artefact took.

    Attributes:
        target: asset or partition.
        seconds: of the run that finished it; only the last part of an interrupted training.
            Trials of `onepiece tune` are computed outside the run that collects them and counted
            apart (`trial_times.py`); shards that torchrun filled do not count.
        memory_mib: peak memory of the process, or of one of its workers.
        bytes: on disk.
        made: when it was finished.
        run: id of the Dagster run.
        machine: that it was made on; empty where an earlier version did not note it.
    """

    target: str
    seconds: float
    memory_mib: float
    bytes: int
    made: datetime
    run: str
    machine: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "made": self.made.isoformat(timespec="seconds")}


def measured_costs(workspace: Workspace) -> tuple[list[Cost], list[str]]:
    """What Dagster recorded when the present artefacts were made.

    Returns:
        The costs, upstream first, and the names of artefacts without a record: DVC brought them,
        the run was killed right after, or Dagster's records were removed.

    Raises:
        InputError: nothing was made yet, or Dagster's records lie where nothing may be written.
    """
    present = list(_present(workspace))
    if not present:
        raise InputError(
            f"{workspace.data}: nothing was made yet; run `{follow_up(workspace, 'materialize')}`"
        )
    if not workspace.home.exists():  # reading creates none
        return [], [str(target) for target, _ in present]
    require_folder(workspace.home, writable=True)  # SQLite takes locks even to read
    costs, unknown = [], []
    with open_unchanged(workspace) as instance:
        for target, content in present:
            cost = _cost(instance, target, content)
            if cost is None:
                unknown.append(str(target))
            else:
                costs.append(cost)
    return costs, unknown


def size_of_data(workspace: Workspace) -> dict[str, int]:
    """Numbers of users, items, events and candidates; empty before ``interactions`` is made."""
    folder = workspace.folder("interactions")
    if not folder.exists():
        return {}
    events = Interactions.load(folder)
    return {
        "users": events.num_users,
        "items": events.num_items,
        "events": events.num_events,
        "candidates": len(events.candidate_item_ids),
    }


def as_text(
    size: Mapping[str, int],
    costs: Sequence[Cost],
    unknown: Sequence[str],
    trials: Sequence[float],
) -> str:
    """The size of the data, and a row per artefact, with the sums of time and disk and the peak.

    Args:
        size: of the data.
        costs: of the artefacts.
        unknown: artefacts without a record.
        trials: seconds that each trial of the tuning study took.
    """
    parts = [", ".join(f"{count:,} {what}" for what, count in size.items())] if size else []
    if costs:
        whole = [
            "in all",
            _duration(sum(cost.seconds for cost in costs)),
            f"{max(cost.memory_mib for cost in costs):,.0f}",
            _mebibytes(sum(cost.bytes for cost in costs)),
        ]
        header = ["", "time", "memory, MiB", "disk, MiB", "made (UTC)", "run", "machine"]
        rows = [*(_cells(cost) for cost in costs), [*whole, "", "", ""]]
        parts.append(columns(header, rows))
    if trials:
        parts.append(
            f"The {len(trials)} trials of tuning_study took {_duration(sum(trials))} together, "
            "wherever they ran"
        )
    if unknown:
        parts.append(f"No run here noted what these took: {', '.join(unknown)}")
    return "\n\n".join(parts)


def _present(workspace: Workspace) -> Iterator[tuple[Target, str]]:
    """The present artefacts, upstream first, with the hash of their content."""
    named = [name for name, stage in workspace.stages.items() if workspace.partitions(stage)]
    for target in parse_targets(workspace, named):
        with suppress(InputError):  # not there, or damaged
            folder = workspace.current_folder(target.asset, target.partition)
            yield target, Lineage.read(folder).content


def _cost(instance: dg.DagsterInstance, target: Target, content: str) -> Cost | None:
    """From the newest event of a run that made exactly this content; None if there is none."""
    for record in _events(instance, target):
        event = record.asset_materialization
        metadata = event.metadata if event else {}
        noted: dict[str, Any] = {name: value.value for name, value in metadata.items()}
        if noted.get("content_hash") == content and noted.get("reused") is False:
            return Cost(
                target=str(target),
                seconds=noted["seconds"],
                memory_mib=noted["peak_memory_mib"],
                bytes=noted["bytes"],
                made=datetime.fromtimestamp(record.timestamp, UTC),
                run=record.run_id,
                machine=noted.get("machine", ""),
            )
    return None


def _events(instance: dg.DagsterInstance, target: Target) -> Iterator[dg.EventLogRecord]:
    """All materialisation events of a target, newest first."""
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(target.asset),
        asset_partitions=None if target.partition is None else [target.partition],
    )
    cursor, more = None, True
    while more:
        found = instance.fetch_materializations(wanted, limit=_EVENTS_AT_ONCE, cursor=cursor)
        yield from found.records
        cursor, more = found.cursor, found.has_more


def _cells(cost: Cost) -> list[str]:
    return [
        cost.target,
        _duration(cost.seconds),
        f"{cost.memory_mib:,.0f}",
        _mebibytes(cost.bytes),
        f"{cost.made:%Y-%m-%d %H:%M}",
        cost.run[:8],
        cost.machine,
    ]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f}"
