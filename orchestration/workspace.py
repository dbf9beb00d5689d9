"""From a parameter file and a data folder to the workspace of all assets."""

import os
from pathlib import Path

from assets.workspace import Workspace
from model.artifact import require_folder
from model.errors import InputError
from model.params import Params, RawDataParams
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS
from orchestration.dvc_bridge import choose_recorder
from orchestration.follow_up import follow_up

ROOT = Path(__file__).resolve().parents[1]
PARAMS_VARIABLE, DATA_VARIABLE = "ONEPIECE_PARAMS", "ONEPIECE_DATA"


def open_workspace(
    params_file: Path, data: Path, *, force: bool = False, read_only: bool = False
) -> Workspace:
    """Load the parameters and choose the recorder of versions.

    Raises:
        InputError: the parameter file is missing or wrong, ``data`` is not a folder, or it holds
            the code or lies among the raw files.
    """
    params = Params.load(params_file)
    require_folder(data, writable=False)
    params_file, data = params_file.resolve(), data.resolve()
    _require_own_folder(data, params.raw_data)
    own = data == ROOT / "data" and params_file == ROOT / "params.yaml"
    return Workspace(
        root=ROOT,
        params_file=params_file,
        params=params,
        data=data,
        force=force,
        read_only=read_only,
        recorder=choose_recorder(ROOT, own=own),
    )


def _require_own_folder(data: Path, raw_data: RawDataParams) -> None:
    """Artefacts among the raw files would be raw files of the next run."""
    if ROOT.is_relative_to(data):
        raise InputError(f"{data}: holds the project's own code; give artefacts another folder")
    if raw_data.format != "synthetic" and data.is_relative_to(Path(raw_data.source).resolve()):
        raise InputError(
            f"{data}: raw_data.source, {raw_data.source}, holds raw files only; "
            "give artefacts a folder outside it, as in --data artefacts"
        )


def open_existing(params_file: Path, data: Path) -> Workspace:
    """Open the workspace of an existing data folder, for reading.

    Raises:
        InputError: as :func:`open_workspace`, or there is no such folder.
    """
    workspace = open_workspace(params_file, data)
    if not data.exists():
        command = follow_up(workspace, "materialize")
        raise InputError(f"{data}: not found; name the data folder, or run `{command}`")
    return workspace


def workspace_from_environment() -> Workspace:
    """What `onepiece ui` and Dagster's own processes work on.

    `ONEPIECE_PARAMS` and `ONEPIECE_DATA` pass the command line's choice on to them.
    """
    return open_workspace(
        Path(os.environ.get(PARAMS_VARIABLE, ROOT / DEFAULT_PARAMS)),
        Path(os.environ.get(DATA_VARIABLE, ROOT / DEFAULT_DATA)),
    )
