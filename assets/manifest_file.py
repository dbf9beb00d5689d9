"""A submission's manifest: reading it, and checking the submission's files against it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from assets.hashing import HashCache, hash_bytes, hash_file
from assets.lineage import MANIFEST_FILE, PAGE_FILE, Lineage, content_files, differences
from model.artifact import read_json
from model.errors import InputError

ID_LENGTH = 12


class Origin(TypedDict):
    """What something was made from, with which parameters, by which code and packages."""

    artifacts: dict[str, Any]  # by path below the data folder, see ``manifest.ancestors``
    raw_files: dict[str, Any]
    params: dict[str, Any]
    seed: int
    git: dict[str, Any]
    packages: dict[str, str]
    python: str
    platform: str


class Manifest(Origin):
    """``manifest.json``; docs/outputs.md says what each key means.

    The last two are added when the file is finished; earlier versions lack some of the others.
    """

    id: str
    created: str
    content: str
    lineage: str
    device: str
    dagster_run: str
    metrics: dict[str, Any]
    measured_with: NotRequired[dict[str, Any]]
    measured_on: NotRequired[dict[str, str]]
    page: NotRequired[str]
    hash: NotRequired[str]


def version_name(lineage: Lineage) -> str:
    """The name of a kept version: a function of its content and of all that it was made from."""
    return lineage.hash[:ID_LENGTH]


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest and verify its hash.

    Raises:
        InputError: missing, damaged or edited.
    """
    manifest = read_json(folder / MANIFEST_FILE)
    if not isinstance(manifest, dict) or manifest.get("hash") != manifest_hash(manifest):
        raise InputError(f"{folder / MANIFEST_FILE}: damaged or edited since it was written")
    return cast("Manifest", manifest)


def submission_damage(folder: Path, hashes: HashCache) -> list[str]:
    """A sentence on everything that changed since a submission was made; none if it is intact."""
    try:
        manifest, lineage = read_manifest(folder), Lineage.read(folder)
    except InputError as error:
        return [str(error)]
    problems = differences(lineage, content_files(folder, hashes))
    if version_name(lineage) != folder.name or manifest["id"] != folder.name:
        problems.append(f"its content belongs to the id {version_name(lineage)}")
    if manifest["lineage"] != lineage.hash:
        problems.append("its lineage file is not the one that the manifest was written for")
    page = folder / PAGE_FILE
    if "page" in manifest and (not page.is_file() or hash_file(page) != manifest["page"]):
        problems.append(f"{PAGE_FILE} is not the page that was written with the manifest")
    return problems


def manifest_hash(manifest: Mapping[str, object]) -> str:
    """The hash of everything in a manifest but the hash itself."""
    rest = {key: value for key, value in manifest.items() if key != "hash"}
    return hash_bytes(json.dumps(rest, sort_keys=True).encode())
