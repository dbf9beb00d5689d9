"""The raw files: what they are and what they hash to; a synthetic world is written first."""

from pathlib import Path
from typing import Any

from assets.artifact_asset import artifact_asset
from model.dataset.raw_data import RawData, make_raw_data
from model.params import Params


def _describe(made: RawData) -> dict[str, Any]:
    return {
        "format": made.format,
        "raw_files": len(made.files),
        "raw_bytes": sum(file.size for file in made.files),
    }


@artifact_asset(group="dataset", kinds={"file"}, describe=_describe)
def raw_data(params: Params, folder: Path) -> RawData:
    """The raw files of one delivery, named and hashed.

    With `raw_data.format: synthetic` the files themselves are written here, in TencentGR's layout.
    """
    return make_raw_data(params.raw_data, params.seed, folder)
