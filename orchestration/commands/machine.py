"""Commands about this machine: user interface, artefacts on it, missing parts, version."""

from typing import Annotated

import typer

from orchestration.commands.options import DataFolder, ParamsFile
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS
from orchestration.failures import RUN_FAILED


def onepiece(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and git revision.")
    ] = False,
) -> None:
    """From a behaviour log and multimodal item embeddings to recommendations."""
    if version:
        from orchestration.doctor import describe_version

        typer.echo(describe_version())
        raise typer.Exit


def ui(
    port: Annotated[int, typer.Option(help="Port of the web server.", min=1, max=65535)] = 3000,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Start Dagster's web server and daemon, reachable from this machine only."""
    from orchestration.ui import serve
    from orchestration.workspace import open_workspace

    serve(open_workspace(params, data), port)


def sync(params: ParamsFile = DEFAULT_PARAMS, data: DataFolder = DEFAULT_DATA) -> None:
    """Tell Dagster about artefacts that it did not make (dvc pull, dvc checkout)."""
    from orchestration.instance import open_instance
    from orchestration.synchronization import report_existing
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    with open_instance(workspace) as instance:
        told = report_existing(instance, workspace)
    typer.echo(f"reported to Dagster: {', '.join(map(str, told)) or 'nothing, it knows all'}")


def doctor(data: DataFolder = DEFAULT_DATA) -> None:
    """Show versions, devices, free disk space, and what is missing and how to get it."""
    from orchestration.doctor import examine

    text, healthy = examine(data)
    typer.echo(text)
    raise typer.Exit(0 if healthy else RUN_FAILED)
