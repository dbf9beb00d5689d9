"""`onepiece materialize --dry-run`: what a run would make and what it would keep, and why."""

from collections.abc import Sequence

from assets.workspace import Workspace
from orchestration.materialization import (
    MADE,
    REUSED,
    Reason,
    reasons,
    warn_of_another_file,
)
from orchestration.targets import targets_of

_UNCHANGED = Reason(REUSED, "unchanged")


def describe_run(workspace: Workspace, names: Sequence[str], *, only: bool) -> str:
    """A line per asset or partition, in the order in which they would be made.

    What is downstream of a lost or damaged artefact is reused if that comes out as it was. Other
    parameters, code or raw files remake everything downstream, since a hash includes the lineage:
    all but a submission whose champion and data stay the same.

    Args:
        workspace: parameters and data folder, of which nothing is written.
        names: as :func:`orchestration.materialization.materialize` takes them.
        only: leave upstream assets alone.

    Raises:
        InputError: a name is unknown.
    """
    targets = targets_of(workspace, names, only=only)
    if workspace.force:
        found = dict.fromkeys(targets, Reason(MADE, "--force"))
    else:
        found = reasons(workspace, targets)
    if found:
        warn_of_another_file(workspace)
    width = max(len(str(target)) for target in targets)
    lines = []
    for target in targets:
        reason = found.get(target, _UNCHANGED)
        lines.append(f"{reason.state:8} {target!s:{width}}  {reason.sentence}")
    return "\n".join(lines)
