"""The published codebook that ``codebook.frozen_from`` names, as a parent of an artefact."""

from pathlib import Path

from assets.hashing import HashCache
from model.artifact import read_json
from model.errors import InputError

FROZEN = "frozen_codebook"  # prefix of its name among an artefact's parents


def hash_frozen_codebook(
    frozen: Path, hashes: HashCache, *, named_in: Path, replaced: Path
) -> dict[str, str]:
    """The hash of a published codebook's folder, keyed by its generation and revision.

    Args:
        frozen: ``codebook.frozen_from``.
        hashes: md5s of files already read.
        named_in: the parameter file that names the folder.
        replaced: the folder of the codebook that will be made from it.

    Raises:
        InputError: it holds none, is the one that would be replaced, or cannot be read.
    """
    if frozen.resolve().is_relative_to(replaced.resolve()):
        raise InputError(
            f"codebook.frozen_from: {frozen} would be replaced by the codebook made from it; copy "
            "it out of the data folder first and name the copy"
        )
    if not (frozen / "codebook.json").exists():
        raise InputError(
            f"codebook.frozen_from: {frozen} of {named_in} holds no codebook; name a copy of a "
            "published codebook folder, or null"
        )
    facts = read_json(frozen / "codebook.json")
    if not isinstance(facts, dict) or not {"generation", "revision"} <= facts.keys():
        raise InputError(
            f"{frozen / 'codebook.json'}: names no generation and revision, so this is no "
            "published codebook; copy the folder again from where it was published"
        )
    name = f"{FROZEN}/{facts['generation']}/revision_{facts['revision']}"
    return {name: hashes.hash_path(frozen)}
