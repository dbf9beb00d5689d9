"""Commands that show a model's results, and choose which model submits."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestration.commands.options import AsJson, DataFolder, ParamsFile
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS

Action = Literal["exposure", "click", "conversion"]


def report(
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show coverage, collisions, metrics and the location of the newest submission."""
    import json

    from orchestration.report import read_facts, write_report
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    typer.echo(json.dumps(read_facts(workspace), indent=2) if json_ else write_report(workspace))


def costs(
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show the time, memory and disk space that each artefact took, and on which machine."""
    import json

    from orchestration.costs import as_text, measured_costs, size_of_data
    from orchestration.trial_times import trial_seconds
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    found, unknown = measured_costs(workspace)
    size, trials = size_of_data(workspace), trial_seconds(workspace)
    if json_:
        told = {
            "data": size,
            "costs": [cost.to_json() for cost in found],
            "trial_seconds": trials,
            "not_noted": unknown,
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(as_text(size, found, unknown, trials))


def explain(
    user: Annotated[str, typer.Argument(help="A user's raw id.")],
    test: Annotated[
        bool, typer.Option("--test", help="Explain the evaluation's ten items instead.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page to this file instead, and print its path."),
    ] = None,
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Explain why a user is recommended these ten items."""
    import json

    from model.inference.explain_page import as_text
    from orchestration.explanation import explain as take_apart
    from orchestration.explanation import require_page, write_page
    from orchestration.workspace import open_existing

    if json_ and page is not None:
        raise typer.BadParameter("give one of --json and --page")
    if page is not None:
        require_page(page)
    part = "test" if test else "submission"
    found = take_apart(open_existing(params, data), user, part)
    if page is not None:
        write_page(page, found)
        typer.echo(page)
    elif json_:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        typer.echo(as_text(found), nl=False)


def recommend(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ITEM]...", help="Raw ids of the items in the history, oldest first."
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Raw id of a user whose own events come first.")
    ] = None,
    action: Annotated[Action, typer.Option(help="What the user did with these items.")] = "click",
    json_: AsJson = False,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Recommend ten items for the given history."""
    import json

    from orchestration.recommendation import as_rows, as_table
    from orchestration.recommendation import recommend as answer
    from orchestration.workspace import open_existing

    found = answer(open_existing(params, data), items or [], action=action, user=user)
    typer.echo(json.dumps(as_rows(found), indent=2) if json_ else as_table(found))


def export(
    folder: Annotated[
        Path, typer.Argument(help="A new or empty folder, or an earlier export to replace.")
    ],
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Export the champion, its vectors and semantic IDs for other systems."""
    from orchestration.export import export as write
    from orchestration.workspace import open_existing

    typer.echo(write(open_existing(params, data), folder))


def quotas(
    out: Annotated[
        Path | None, typer.Option(help="Folder of table and plot; default: quota_study in --data.")
    ] = None,
    beam_width: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Width to try beside the run's own; repeatable; default: 5 to 40."
        ),
    ] = None,
    num_sids: Annotated[
        list[int] | None,
        typer.Option(min=1, help="K' to try beside the run's own; repeatable; default: 48 to 768."),
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Measure score and speed over beam width and semantic IDs, beside embedding search."""
    from assets.device import DEVICE, inference_device
    from model.artifact import require_folder
    from model.inference.inputs import InferenceInputs
    from model.inference.quota import BEAM_WIDTHS, NUM_SIDS, save_study, study_run
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    folder = out or workspace.data / "quota_study"
    require_folder(folder, writable=True)
    modalities = workspace.params.modality_embeddings.modalities
    InferenceInputs.load(workspace.data, workspace.data, modalities)  # refuses before it waits
    with workspace.device(DEVICE):
        table = study_run(
            workspace.params,
            workspace.data,
            inference_device(),
            beam_width or BEAM_WIDTHS,
            num_sids or NUM_SIDS,
        )
    save_study(table, folder)
    typer.echo(table.round(4).to_string(index=False, na_rep="-"))


def plan(
    gpu_hours: Annotated[
        float | None, typer.Option("--gpu-hours", help="Budget in hours times devices.")
    ] = None,
    flops: Annotated[float | None, typer.Option(help="Or a budget in training FLOPs.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Protocol of the study, if there are several.")
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Recommend the next model's size for a budget, from the laws of the scaling study."""
    from orchestration.planning import plan as recommend
    from orchestration.workspace import open_existing

    workspace = open_existing(params, data)
    typer.echo(recommend(workspace, flops=flops, hours=gpu_hours, protocol=protocol))


def rollback(
    model: Annotated[
        str | None,
        typer.Argument(help="A promoted model in data/champion; default: the previous one."),
    ] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Make an earlier model the champion again."""
    from orchestration.rollback import roll_back
    from orchestration.workspace import open_existing

    typer.echo(roll_back(open_existing(params, data), model))
