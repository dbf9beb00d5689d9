"""The command line: `onepiece COMMAND`, or `python -m orchestration COMMAND`.

Every command imports what it needs when it runs, so that `--help` answers at once.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from model.errors import InputError
from orchestration.failures import RunFailedError

# Nothing leaves the machine: no tool may report what it was used for.
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

app = typer.Typer(
    name="onepiece",
    help="From a behaviour log and multimodal item embeddings to recommendations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Where all artefacts lie.")]
DEFAULT_PARAMS, DEFAULT_DATA = Path("params.yaml"), Path("data")

INPUT_ERROR, RUN_FAILED, INTERRUPTED = 2, 1, 130


@app.command()
def materialize(
    assets: Annotated[
        list[str] | None,
        typer.Argument(help="Assets or partitions (modality_embeddings@81); none means all."),
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
    force: Annotated[bool, typer.Option("--force", help="Make them anew, changed or not.")] = False,
    only: Annotated[bool, typer.Option("--only", help="Leave what is upstream alone.")] = False,
) -> None:
    """Make assets, and what they are made from, where they are missing or out of date."""
    from orchestration import materialization
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data, force=force)
    tags = {"onepiece/door": "dvc" if "DVC_STAGE" in os.environ else "command line"}
    materialization.materialize(workspace, assets or [], only=only, tags=tags)


@app.command()
def report(params: ParamsFile = DEFAULT_PARAMS, data: DataFolder = DEFAULT_DATA) -> None:
    """Show coverage, collisions, metrics and where the newest submission lies."""
    from orchestration.report import write_report
    from orchestration.workspace import open_workspace

    typer.echo(write_report(open_workspace(params, data)))


@app.command()
def doctor(data: DataFolder = DEFAULT_DATA) -> None:
    """Show versions, devices, free disk, and what is missing and how to get it."""
    from orchestration.doctor import examine

    text, healthy = examine(data)
    typer.echo(text)
    raise typer.Exit(0 if healthy else RUN_FAILED)


def main() -> None:
    """Run the command line; bad input is one sentence and exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("onepiece")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        app()
    except InputError as error:
        typer.echo(f"onepiece: {error}", err=True)
        sys.exit(INPUT_ERROR)
    except RunFailedError as error:
        typer.echo(f"onepiece: {error}", err=True)
        sys.exit(RUN_FAILED)
    except KeyboardInterrupt:
        typer.echo("onepiece: interrupted; the same command carries on", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
