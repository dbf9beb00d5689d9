"""The hash that identifies a delivery of raw files."""

from pathlib import Path

from assets.hashing import HashCache, linked_folder
from model.errors import InputError


def hash_source(source: Path, hashes: HashCache, *, named_in: Path, read_by_dvc: bool) -> str:
    """Hash all raw files but the hidden ones, which nobody reads.

    Args:
        source: ``raw_data.source``.
        hashes: md5s of files already read.
        named_in: the parameter file that names the source.
        read_by_dvc: whether `dvc repro` hashes it too.

    Raises:
        InputError: there is no such folder, a file in it cannot be read, or DVC would miss some.
    """
    if not source.exists():
        raise InputError(
            f"{source}: raw_data.source of {named_in} does not exist; name the folder of the raw "
            "files"
        )
    linked = linked_folder(source) if read_by_dvc else None
    if linked is not None:
        raise InputError(
            f"{linked}: a link to a folder, which `dvc repro` does not follow; put the folder "
            "itself there, or give the artefacts a folder of their own with --data"
        )
    return hashes.hash_visible(source)
