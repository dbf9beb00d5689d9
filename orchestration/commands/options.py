"""The options that most commands have."""

from pathlib import Path
from typing import Annotated

import typer

ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Where all artefacts lie.")]
SubmissionId = Annotated[
    str | None, typer.Argument(help="Or the beginning of its id; else newest.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
DEFAULT_PARAMS, DEFAULT_DATA = Path("params.yaml"), Path("data")
