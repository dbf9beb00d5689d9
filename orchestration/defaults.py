"""What a command acts on where it is not told."""

from pathlib import Path

DEFAULT_PARAMS, DEFAULT_DATA = Path("params.yaml"), Path("data")
