"""Checks of the contents of an artefact, as Dagster shows and enforces them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.workspace import Workspace

logger = logging.getLogger("onepiece")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes:
        passed: whether it holds.
        reason: one sentence; names the failing rows when there are any.
        metadata: tables and links for the run's page.
    """

    passed: bool
    reason: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """A condition that the contents of an artefact must meet.

    Attributes:
        name: of the check.
        description: one sentence on what it demands.
        judge: gets the artefact and the workspace.
        blocking: whether the run stops, and nothing is recorded, when it fails.
    """

    name: str
    description: str
    judge: Callable[[Any, Workspace], Verdict]
    blocking: bool = True

    def run(self, made: Any, workspace: Workspace) -> dg.AssetCheckResult:
        """Judge an artefact; what is wrong with it is also logged."""
        verdict = self.judge(made, workspace)
        if not verdict.passed:
            logger.error("%s: %s", self.name, verdict.reason)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            check_name=self.name,
            severity=dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN,
            description=verdict.reason,
            metadata=verdict.metadata,
        )


def refusal(checks: Sequence[Check], results: Sequence[dg.AssetCheckResult]) -> str | None:
    """Why nothing may be built on an artefact: its failed blocking checks; None without any."""
    blocking = {check.name for check in checks if check.blocking}
    reasons = [
        result.description or "it gave no reason"
        for result in results
        if not result.passed and result.check_name in blocking
    ]
    return " ".join(reasons) or None
