"""From a parameter file and a data folder to the workspace of all assets."""

import os
import re
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
# Dagster looks for its configuration by a glob pattern, and it and DuckDB make addresses of paths,
# in which "?" ends a file's name and "%20" is a blank.
_MISREAD = re.compile(r"[?\[]|%[0-9A-Fa-f]{2}")


def open_workspace(
    params_file: Path, data: Path, *, force: bool = False, read_only: bool = False
) -> Workspace:
    """Load the parameters and choose the recorder of versions.

    Raises:
        InputError: the parameter file is missing or wrong, ``data`` is not a folder, holds the code
            or lies among the raw files, or Dagster would misread the path of its own home.
    """
    params = Params.load(params_file)
    require_folder(data, writable=False)
    params_file, data = params_file.resolve(), data.resolve()
    _require_own_folder(data, params.raw_data)
    own = data == ROOT / "data" and params_file == ROOT / "params.yaml"
    workspace = Workspace(
        root=ROOT,
        params_file=params_file,
        params=params,
        data=data,
        force=force,
        read_only=read_only,
        recorder=choose_recorder(ROOT, own=own),
    )
    _require_readable_path(workspace.home)
    return workspace


def _require_readable_path(home: Path) -> None:
    """Records would land in another file, and Dagster's configuration would not be found."""
    misread = _MISREAD.search(str(home))
    if misread is not None:
        raise InputError(
            f"{home}: the path holds {misread[0]!r}, which Dagster and DuckDB do not take as part "
            "of a name; rename that folder, or choose another --data"
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
