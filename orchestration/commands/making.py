"""Commands that make something: artefacts, raw files, a study."""

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands.options import (
    DEFAULT_DATA,
    DEFAULT_PARAMS,
    AsJson,
    DataFolder,
    ParamsFile,
)


def materialize(
    assets: Annotated[
        list[str] | None,
        typer.Argument(help="Assets or partitions (modality_embeddings@81); none means all."),
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Make them and all that they are made from anew; with --only, them alone.",
        ),
    ] = False,
    only: Annotated[bool, typer.Option("--only", help="Leave what is upstream alone.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made, and why; write nothing.")
    ] = False,
) -> None:
    """Make assets, and what they are made from, where they are missing or out of date."""
    from orchestration import materialization
    from orchestration.dry_run import describe_run
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data, force=force, read_only=dry_run)
    if dry_run:
        typer.echo(describe_run(workspace, assets or [], only=only))
        return
    tags = {"onepiece/door": "dvc" if "DVC_STAGE" in os.environ else "command line"}
    materialization.materialize(workspace, assets or [], only=only, tags=tags)


def synthesize(
    folder: Annotated[Path, typer.Argument(help="Where the raw files shall lie.")],
    params: ParamsFile = DEFAULT_PARAMS,
    users: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Instead of the file's num_users.")
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            min=100,
            max=2**31 - 1,
            help="Instead of the file's num_items; candidates and clusters in proportion.",
        ),
    ] = None,
) -> None:
    """Write a synthetic world in TencentGR's parquet layout."""
    from model.artifact import require_folder
    from model.dataset.synthesizer import write_synthetic_world
    from model.params import Params

    values = Params.load(params)
    require_folder(folder, writable=True)
    require_folder(folder.resolve().parent, writable=True)  # it is written there and renamed
    world = values.raw_data.synthetic_world.resized(users, items)
    write_synthetic_world(world, values.seed, folder)
    typer.echo(f"{folder}: {world.num_users:,} users, {world.num_items:,} items")


def tokenize(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Modalities, or collaborative; none means the file's modalities."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the file's codebook.method: residual_kmeans, balanced_residual_kmeans "
            "or rq_vae; several stand side by side."
        ),
    ] = None,
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show coverage, collisions and quality of single sources' semantic IDs."""
    import json

    from orchestration.tokenization import as_text, tokenize_sources
    from orchestration.workspace import open_workspace

    found = tokenize_sources(open_workspace(params, data), sources or [], method or [])
    typer.echo(json.dumps(found, indent=2) if json_ else as_text(found))


def tune(
    processes: Annotated[
        int | None, typer.Option(help="Workers to start; else the file's num_processes.", min=1)
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Try other parameter values; several of this command work on one study."""
    from orchestration.tuning import tune as finish_study
    from orchestration.workspace import open_workspace

    typer.echo(finish_study(open_workspace(params, data), processes))


def adopt(
    into: Annotated[
        Path | None, typer.Option(help="The file to change or to make; else --params.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Write the values of the best trial into a parameter file."""
    from orchestration.tuning import adopt as write_winner
    from orchestration.workspace import open_workspace

    typer.echo(write_winner(open_workspace(params, data), into))
