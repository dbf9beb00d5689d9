"""The parameter file and data folder of a command that names none."""

from pathlib import Path

DEFAULT_PARAMS, DEFAULT_DATA = Path("params.yaml"), Path("data")
