"""Where an artefact came from: ``lineage.json`` in its folder, deterministic, without times.

A folder's recipe is everything that decides its bytes: the hashes of what it was made from, the
parameters and the code. An artefact whose recipe and content are unchanged is never made again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.hashing import HashCache, hash_bytes, hash_file, hash_listing
from model.artifact import read_json, write_json
from model.errors import InputError

LINEAGE_FILE = "lineage.json"
MANIFEST_FILE = "manifest.json"  # of a submission: has times in it
PAGE_FILE = "lineage.html"  # of a submission: drawn from the manifest
_NOT_CONTENT = (LINEAGE_FILE, MANIFEST_FILE, PAGE_FILE)


@dataclass(frozen=True)
class Recipe:
    """All that decides an artefact's content.

    Attributes:
        asset: its name.
        partition: the modality, or None.
        parents: folder hash of everything read, by path below the data folder.
        params: the values of the sections read, by dotted key.
        code: hash of the code that made it.
        seed: of every random choice.
    """

    asset: str
    partition: str | None
    parents: dict[str, str]
    params: dict[str, Any]
    code: str
    seed: int


@dataclass(frozen=True)
class Lineage:
    """A recipe and what came of it.

    Attributes:
        recipe: what it was made from.
        content: hash of the folder's other files.
        files: md5 of each of them, by relative path.
    """

    recipe: Recipe
    content: str
    files: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, hashes: HashCache) -> "Lineage":
        """Describe a finished folder."""
        files = content_files(folder, hashes)
        return cls(recipe, hash_listing(files), files)

    @property
    def hash(self) -> str:
        """One hash over the recipe and the content."""
        return hash_bytes(json.dumps(asdict(self), sort_keys=True).encode())

    def write(self, folder: Path) -> None:
        """Write it into the folder that it describes, with its own hash to detect later edits."""
        facts = {"content": self.content, "files": self.files, "hash": self.hash}
        write_json(folder / LINEAGE_FILE, {**asdict(self.recipe), **facts})

    @classmethod
    def read(cls, folder: Path) -> "Lineage":
        """Read a folder's lineage.

        Raises:
            InputError: it has none, or it is damaged or edited.
        """
        document = read_json(folder / LINEAGE_FILE)
        try:
            recipe = Recipe(**{name: document[name] for name in Recipe.__dataclass_fields__})
            lineage = cls(recipe, document["content"], document["files"])
        except (KeyError, TypeError):
            lineage = None
        if lineage is None or document.get("hash") != lineage.hash:
            raise InputError(
                f"{folder / LINEAGE_FILE}: damaged or edited; materialise the asset again"
            )
        return lineage


def content_files(folder: Path, hashes: HashCache) -> dict[str, str]:
    """md5 of every file of an artefact but those that describe it, by relative path."""
    found = hashes.hash_files(folder)
    return {path: md5 for path, md5 in found.items() if path not in _NOT_CONTENT}


def folder_hash(folder: Path) -> str:
    """The hash that DVC records for an artefact's folder, from its lineage file alone."""
    files = {**Lineage.read(folder).files, LINEAGE_FILE: hash_file(folder / LINEAGE_FILE)}
    return hash_listing(files)


def damage(folder: Path, hashes: HashCache) -> list[str]:
    """Sentences on everything that changed since the artefact was made; none if it is intact."""
    try:
        lineage = Lineage.read(folder)
    except InputError as error:
        return [str(error)]
    return differences(lineage, content_files(folder, hashes))


def differences(lineage: Lineage, files: Mapping[str, str]) -> list[str]:
    """Sentences on every file that is not what the lineage says it was.

    Args:
        lineage: as recorded.
        files: md5 by relative path, as found.
    """
    names = sorted(lineage.files.keys() | files.keys())
    found = []
    for name in names:
        if name not in files:
            found.append(f"{name} is missing")
        elif name not in lineage.files:
            found.append(f"{name} is not in the lineage")
        elif files[name] != lineage.files[name]:
            found.append(f"{name} hashes to {files[name]}, not to {lineage.files[name]}")
    return found
