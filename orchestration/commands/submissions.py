"""Commands about submissions: their origin, their differences, their integrity."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands.options import AsJson, DataFolder, ParamsFile, SubmissionId
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS
from orchestration.failures import RUN_FAILED


def submissions(
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """List all submissions, oldest first, with the metrics of their models."""
    import json

    from assets.ledger import COLUMNS, read_ledger
    from orchestration.submissions import none_yet, submission_ids
    from orchestration.text_table import columns
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    made = bool(submission_ids(workspace))
    rows = read_ledger(workspace) if made else []
    if json_:
        dated = [{**row, "created": row["created"].isoformat()} for row in rows]
        typer.echo(json.dumps(dated, indent=2))
        return
    if not made:
        typer.echo(none_yet(workspace))
        return
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
    json_: AsJson = False,
    html: Annotated[bool, typer.Option("--html", help="Print the path of the HTML page.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid graph.")] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show where a submission came from."""
    import json

    from assets import lineage_text
    from assets.lineage import PAGE_FILE
    from assets.manifest_file import read_manifest
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
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Hash a submission and all that it was made from, and compare with its manifest."""
    import json
    from dataclasses import asdict

    from orchestration.verification import describe
    from orchestration.verification import verify as check
    from orchestration.workspace import open_existing

    findings = check(open_existing(params, data), submission)
    if json_:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo(describe(findings))
    broken = any(finding.problem is not None for finding in findings)
    raise typer.Exit(RUN_FAILED if broken else 0)


def diff(
    first: Annotated[str, typer.Argument(help="Id of a submission.")],
    second: Annotated[str, typer.Argument(help="Id of another.")],
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Not only those of the report.")
    ] = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show what changed between two submissions: data, parameters, code, metrics."""
    from assets.manifest_file import read_manifest
    from orchestration.comparison import compare
    from orchestration.submissions import find_submission
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    manifests = [read_manifest(find_submission(workspace, one)) for one in (first, second)]
    typer.echo(compare(*manifests, all_metrics=all_metrics))


def rebuild(
    submission: SubmissionId = None,
    into: Annotated[
        Path, typer.Option(help="Folder for the code and, per submission, the artefacts.")
    ] = Path("rebuilt"),
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Rebuild a submission from the revision and data in its manifest, and compare."""
    from orchestration.rebuilding import rebuild as again
    from orchestration.workspace import open_existing

    typer.echo(again(open_existing(params, data), submission, into))
