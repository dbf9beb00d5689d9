"""Files as a crash or a bad copy leaves them."""

from pathlib import Path


def damage(file: Path, kept: int | None) -> None:
    """Keep the first ``kept`` bytes (without the last ones where negative), or remove the file."""
    if kept is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:kept])
