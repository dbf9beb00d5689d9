"""Commands that build something: artefacts, raw files, a study."""

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands.options import AsJson, DataFolder, ParamsFile
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS


def materialize(
    assets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Assets or partitions (modality_embeddings@81); default: all a submission needs."
        ),
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Rebuild them and everything upstream; with --only, them alone.",
        ),
    ] = False,
    only: Annotated[bool, typer.Option("--only", help="Leave upstream assets alone.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be made or reused, and why; write nothing."
        ),
    ] = False,
) -> None:
    """Build assets, and everything upstream of them, where missing or out of date."""
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
    folder: Annotated[Path, typer.Argument(help="Folder for the raw files.")],
    params: ParamsFile = DEFAULT_PARAMS,
    users: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**31 - 1, help="Number of users; default: the parameter file's num_users."
        ),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            min=100,
            max=2**31 - 1,
            help="Number of items; default: the parameter file's num_items. Candidates and "
            "clusters scale with it.",
        ),
    ] = None,
) -> None:
    """Write a synthetic data set in TencentGR's parquet layout."""
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
        typer.Argument(
            help="Modalities, or collaborative; default: the parameter file's modalities."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="residual_kmeans, balanced_residual_kmeans or rq_vae; repeat it to compare "
            "several. Default: the parameter file's codebook.method."
        ),
    ] = None,
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show coverage, collisions and quality of semantic IDs built from single sources."""
    import json

    from orchestration.tokenization import as_text, tokenize_sources
    from orchestration.workspace import open_workspace

    found = tokenize_sources(open_workspace(params, data), sources or [], method or [])
    typer.echo(json.dumps(found, indent=2) if json_ else as_text(found))


def tune(
    processes: Annotated[
        int | None, typer.Option(help="Workers to start; default: the file's num_processes.", min=1)
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Run the trials of the tuning study; several such commands can share one study."""
    from orchestration.tuning import tune as finish_study
    from orchestration.workspace import open_workspace

    typer.echo(finish_study(open_workspace(params, data), processes))


def adopt(
    into: Annotated[
        Path | None, typer.Option(help="File to change or create; default: the --params file.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Write the best trial's values into a parameter file."""
    from orchestration.tuning import adopt as write_winner
    from orchestration.workspace import open_workspace

    typer.echo(write_winner(open_workspace(params, data), into))
