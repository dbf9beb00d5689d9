"""The command line: `onepiece COMMAND`, or `python -m orchestration COMMAND`.

Every command imports what it needs when it runs, so that `--help` answers at once.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from model.errors import INPUT_ERROR_EXIT, InputError
from orchestration import stage_server
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
SubmissionId = Annotated[
    str | None, typer.Argument(help="Or the beginning of its id; else newest.")
]
DEFAULT_PARAMS, DEFAULT_DATA = Path("params.yaml"), Path("data")

RUN_FAILED, INTERRUPTED = 1, 130


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
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show coverage, collisions and quality of single sources' semantic IDs."""
    from orchestration.tokenization import tokenize_sources
    from orchestration.workspace import open_workspace

    typer.echo(tokenize_sources(open_workspace(params, data), sources or [], method or []))


@app.command()
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


@app.command()
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
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data)
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


@app.command()
def submissions(params: ParamsFile = DEFAULT_PARAMS, data: DataFolder = DEFAULT_DATA) -> None:
    """List all submissions, oldest first, with the metrics of their models."""
    from assets.ledger import COLUMNS, read_ledger
    from orchestration.report import columns
    from orchestration.workspace import open_existing

    rows = read_ledger(open_existing(params, data))
    cells = [
        [
            f"{value:.4f}" if isinstance(value := row[name], float) else str(value)
            for name in COLUMNS
        ]
        for row in rows
    ]
    typer.echo(columns(COLUMNS, cells))


@app.command()
def verify(
    submission: SubmissionId = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Hash everything that a submission came from and compare with its manifest."""
    from orchestration.verification import verify as check
    from orchestration.workspace import open_workspace

    findings = check(open_workspace(params, data), submission)
    for finding in findings:
        mark = "ok " if finding.problem is None else "!! "
        typer.echo(f"{mark}{finding.path}  {finding.problem or finding.note}".rstrip())
    broken = sum(finding.problem is not None for finding in findings)
    typer.echo(f"{len(findings) - broken} of {len(findings)} as the manifest says")
    raise typer.Exit(RUN_FAILED if broken else 0)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A submission's id.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show what changed between two submissions: data, parameters, code, metrics."""
    from assets.manifest import read_manifest
    from orchestration.comparison import compare
    from orchestration.submissions import find_submission
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data)
    manifests = [read_manifest(find_submission(workspace, one)) for one in (first, second)]
    typer.echo(compare(manifests[0], manifests[1]))


@app.command()
def rebuild(
    submission: SubmissionId = None,
    into: Annotated[Path, typer.Option(help="Where code and artefacts are put.")] = Path("rebuilt"),
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Make a submission again from the revision and data that its manifest names."""
    from orchestration.rebuilding import rebuild as again
    from orchestration.workspace import open_workspace

    typer.echo(again(open_workspace(params, data), submission, into))


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="A user's raw id.")],
    test: Annotated[bool, typer.Option("--test", help="What the evaluation saw.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Write an HTML page there instead; prints its path.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show why a user gets these ten items."""
    from model.artifact import atomic_write
    from model.inference.explain_page import as_page, as_text
    from orchestration.explanation import explain as take_apart
    from orchestration.explanation import require_page
    from orchestration.workspace import open_workspace

    if page is not None:
        require_page(page)
    part = "test" if test else "submission"
    found = take_apart(open_workspace(params, data), user, part)
    if page is None:
        typer.echo(as_text(found), nl=False)
    else:
        atomic_write(page, as_page(found))
        typer.echo(page)


@app.command()
def quotas(
    out: Annotated[
        Path | None, typer.Option(help="Of table and picture; else quota_study in --data.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show what wider beams and more semantic IDs cost and bring, beside embedding search."""
    from assets.device import inference_device
    from model.inference.quota import save_study, study_run
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data)
    table = study_run(workspace.params, workspace.data, inference_device())
    save_study(table, out or workspace.data / "quota_study")
    typer.echo(table.round(4).to_string(index=False, na_rep="-"))


@app.command()
def plan(
    gpu_hours: Annotated[
        float | None, typer.Option("--gpu-hours", help="Hours times devices that may be spent.")
    ] = None,
    flops: Annotated[float | None, typer.Option(help="Or training FLOPs.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Whose study, where there are several.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Recommend the next model's size for a budget, by the laws of the scaling study."""
    from orchestration.planning import plan as recommend
    from orchestration.workspace import open_workspace

    workspace = open_workspace(params, data)
    typer.echo(recommend(workspace, flops=flops, hours=gpu_hours, protocol=protocol))


@app.command()
def rollback(
    model: Annotated[
        str | None, typer.Argument(help="A promoted model of data/champion; else the one before.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Make an earlier model the champion again."""
    from orchestration.rollback import roll_back
    from orchestration.workspace import open_workspace

    typer.echo(roll_back(open_workspace(params, data), model))


@app.command()
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


@app.command()
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


@app.command()
def sync(params: ParamsFile = DEFAULT_PARAMS, data: DataFolder = DEFAULT_DATA) -> None:
    """Tell Dagster what lies in the data folder without a run of its own (dvc pull, checkout)."""
    from orchestration.instance import open_instance
    from orchestration.synchronization import report_existing
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    with open_instance(workspace) as instance:
        told = report_existing(instance, workspace)
    typer.echo(f"told Dagster of {', '.join(map(str, told)) or 'nothing: it knows all'}")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Of the web server.", min=1, max=65535)] = 3000,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Open Dagster's web server and daemon on this machine (loopback only)."""
    from orchestration.ui import serve
    from orchestration.workspace import open_workspace

    serve(open_workspace(params, data), port)


@app.command()
def doctor(data: DataFolder = DEFAULT_DATA) -> None:
    """Show versions, devices, free disk, and what is missing and how to get it."""
    from orchestration.doctor import examine

    text, healthy = examine(data)
    typer.echo(text)
    raise typer.Exit(0 if healthy else RUN_FAILED)


def main() -> None:
    """Run the command line; a stage of `dvc repro` where everything is imported already."""
    if "DVC_STAGE" in os.environ:
        from orchestration import lock_guard

        above = lock_guard.dvc_above()
        if above is not None:
            lock_guard.start_guard(above, Path.cwd())
        code = stage_server.run_stage()
        if code is not None:
            sys.exit(code)
    run_command()


def run_command() -> None:
    """Run the command line here; bad input is one sentence and exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("onepiece")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        app()
    except InputError as error:
        typer.echo(f"onepiece: {error}", err=True)
        sys.exit(INPUT_ERROR_EXIT)
    except PermissionError as error:
        typer.echo(
            f"onepiece: {error.filename}: {error.strerror}; change its permissions", err=True
        )
        sys.exit(INPUT_ERROR_EXIT)
    except RunFailedError as error:
        typer.echo(f"onepiece: {error}", err=True)
        sys.exit(RUN_FAILED)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # what typer makes of KeyboardInterrupt
            typer.echo("onepiece: interrupted; the same command carries on", err=True)
        raise


if __name__ == "__main__":
    main()
