"""Commands about submissions: where they came from, what changed, are they whole."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands.options import (
    DEFAULT_DATA,
    DEFAULT_PARAMS,
    DataFolder,
    ParamsFile,
    SubmissionId,
)
from orchestration.failures import RUN_FAILED


def submissions(params: ParamsFile = DEFAULT_PARAMS, data: DataFolder = DEFAULT_DATA) -> None:
    """List all submissions, oldest first, with the metrics of their models."""
    from assets.ledger import COLUMNS, read_ledger
    from orchestration.report import columns
    from orchestration.submissions import none_yet, submission_ids
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    if not submission_ids(workspace):
        typer.echo(none_yet(workspace))
        return
    rows = read_ledger(workspace)
    cells = [
        [
            f"{value:.4f}" if isinstance(value := row[name], float) else str(value)
            for name in COLUMNS
        ]
        for row in rows
    ]
    typer.echo(columns(COLUMNS, cells))


def lineage(
    submission: SubmissionId = None,
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    html: Annotated[bool, typer.Option("--html", help="As a page; prints its path.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid graph.")] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show where a submission came from."""
    import json

    from assets import lineage_text
    from assets.lineage import PAGE_FILE
    from assets.manifest import read_manifest
    from orchestration.submissions import find_submission
    from orchestration.workspace import open_existing

    if json_ + html + mermaid > 1:
        raise typer.BadParameter("give one of --json, --html and --mermaid")
    workspace = open_existing(params, data)
    folder = find_submission(workspace, submission)
    manifest = read_manifest(folder)
    if json_:
        typer.echo(json.dumps(manifest, indent=2))
    elif html:
        typer.echo(folder / PAGE_FILE)
    elif mermaid:
        typer.echo(lineage_text.as_mermaid(manifest))
    else:
        typer.echo(lineage_text.as_text(manifest))


def verify(
    submission: SubmissionId = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Hash everything that a submission came from and compare with its manifest."""
    from orchestration.verification import verify as check
    from orchestration.workspace import open_existing

    findings = check(open_existing(params, data), submission)
    for finding in findings:
        mark = "ok " if finding.problem is None else "!! "
        typer.echo(f"{mark}{finding.path}  {finding.problem or finding.note}".rstrip())
    broken = sum(finding.problem is not None for finding in findings)
    typer.echo(f"{len(findings) - broken} of {len(findings)} as the manifest says")
    raise typer.Exit(RUN_FAILED if broken else 0)


def diff(
    first: Annotated[str, typer.Argument(help="A submission's id.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Not those of the report alone.")
    ] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show what changed between two submissions: data, parameters, code, metrics."""
    from assets.manifest import read_manifest
    from orchestration.comparison import compare
    from orchestration.submissions import find_submission
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    manifests = [read_manifest(find_submission(workspace, one)) for one in (first, second)]
    typer.echo(compare(*manifests, all_metrics=all_metrics))


def rebuild(
    submission: SubmissionId = None,
    into: Annotated[Path, typer.Option(help="Where code and artefacts are put.")] = Path("rebuilt"),
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Make a submission again from the revision and data that its manifest names."""
    from orchestration.rebuilding import rebuild as again
    from orchestration.workspace import open_existing

    typer.echo(again(open_existing(params, data), submission, into))
