"""Options that most commands share."""

from pathlib import Path
from typing import Annotated

import typer

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Folder of all artefacts.")]
SubmissionId = Annotated[
    str | None, typer.Argument(help="Id or a prefix of it; default: the newest.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
