"""The raw files and their hashes; a synthetic data set is written first."""

from pathlib import Path
from typing import Any

import dagster as dg

from assets.artifact_asset import artifact_asset
from assets.report_metadata import table
from assets.report_pictures import bars
from model.dataset.raw_data import RawData, make_raw_data
from model.params import Params

_MAX_ROWS = 50


def _describe(made: RawData) -> dict[str, Any]:
    folders: dict[str, int] = {}
    for file in made.files:
        folder = file.path.rpartition("/")[0] or "."
        folders[folder] = folders.get(folder, 0) + file.size
    rows = [
        {"file": file.path, "bytes": f"{file.size:,}", "md5": file.md5}
        for file in made.files[:_MAX_ROWS]
    ]
    return {
        "dagster/row_count": len(made.files),
        "raw files": dg.MetadataValue.md(table(rows)),
        "bytes by folder": bars(list(folders), list(folders.values()), "bytes by folder"),
        "format": made.format,
        "raw_files": len(made.files),
        "raw_bytes": sum(file.size for file in made.files),
    }


@artifact_asset(group="dataset", kinds={"file"}, describe=_describe)
def raw_data(params: Params, folder: Path) -> RawData:
    """The raw files of one delivery, listed and hashed.

    With `raw_data.format: synthetic` the files themselves are written here, in TencentGR's layout.
    """
    return make_raw_data(params.raw_data, params.seed, folder)
