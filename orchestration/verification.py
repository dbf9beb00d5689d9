"""`onepiece verify`: does what lies on disk still hash to what the manifest says?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.hashing import HashCache, hash_file, hash_listing
from assets.lineage import LINEAGE_FILE, Lineage, content_files, differences
from assets.manifest import read_manifest, submission_id
from assets.workspace import Workspace
from model.errors import InputError
from orchestration.submissions import find_submission, newest_id

SOURCE = "source"


@dataclass(frozen=True)
class Finding:
    """What was found of one artefact.

    Attributes:
        path: below the data folder.
        problem: one sentence, or None when all is as it was.
        note: how it was found when it is not simply there.
    """

    path: str
    problem: str | None
    note: str = ""


def verify(workspace: Workspace, wanted: str | None) -> list[Finding]:
    """Check a submission and everything upstream of it, reading every byte.

    An older submission's ancestors may have been replaced since; they are then looked for in
    DVC's cache. The newest one's must be what lies in the data folder.

    Args:
        workspace: where everything lies.
        wanted: a submission's id; None for the newest.

    Raises:
        InputError: no such submission.
    """
    folder = find_submission(workspace, wanted)
    findings = [_verify_submission(workspace, folder)]
    try:
        manifest = read_manifest(folder)
    except InputError:
        return findings
    newest = folder.name == newest_id(workspace)
    for path, recorded in manifest["artifacts"].items():
        findings.append(_verify_ancestor(workspace, path, recorded, manifest, newest=newest))
    return findings


def _verify_submission(workspace: Workspace, folder: Path) -> Finding:
    path = folder.relative_to(workspace.data).as_posix()
    try:
        manifest, lineage = read_manifest(folder), Lineage.read(folder)
    except InputError as error:
        return Finding(path, str(error))
    problems = differences(lineage, content_files(folder, HashCache(None)))
    if submission_id(lineage) != folder.name or manifest["id"] != folder.name:
        problems.append(f"its content belongs to the id {submission_id(lineage)}")
    if manifest["lineage"] != lineage.hash:
        problems.append("its lineage file is not the one that the manifest was written for")
    problems += _missing_parents(lineage.recipe.parents, manifest)
    return Finding(path, "; ".join(problems) or None)


def _verify_ancestor(
    workspace: Workspace,
    path: str,
    recorded: dict[str, Any],
    manifest: dict[str, Any],
    *,
    newest: bool,
) -> Finding:
    problems = _missing_parents(recorded["parents"], manifest)
    folder = workspace.data / path
    found = _problem_on_disk(folder, recorded["hash"])
    if found is not None and not newest and _in_cache(workspace, recorded["hash"]):
        return Finding(path, "; ".join(problems) or None, "replaced since; intact in DVC's cache")
    if found is not None:
        problems.append(found)
    return Finding(path, "; ".join(problems) or None)


def _problem_on_disk(folder: Path, expected: str) -> str | None:
    if not folder.is_dir():
        return "it is missing"
    try:
        lineage = Lineage.read(folder)
    except InputError as error:
        return str(error)
    files = content_files(folder, HashCache(None))
    changed = differences(lineage, files)
    if changed:
        return "; ".join(changed)
    found = hash_listing({**files, LINEAGE_FILE: hash_file(folder / LINEAGE_FILE)})
    return None if found == expected else f"it hashes to {found}, the manifest says {expected}"


def _missing_parents(parents: dict[str, str], manifest: dict[str, Any]) -> list[str]:
    problems = []
    for name, expected in parents.items():
        if name == SOURCE:
            continue
        recorded = manifest["artifacts"].get(name)
        if recorded is None:
            problems.append(f"its parent {name} is not in the manifest")
        elif recorded["hash"] != expected:
            problems.append(f"it was made from another {name} ({expected})")
    return problems


def _in_cache(workspace: Workspace, folder_hash: str) -> bool:
    """Whether DVC's cache holds a folder whole, every file of it unchanged."""
    cache = workspace.root / ".dvc" / "cache" / "files" / "md5"
    listing = cache / folder_hash[:2] / folder_hash[2:]
    if not listing.exists() or hash_file(listing) != folder_hash.removesuffix(".dir"):
        return False
    digests = [entry["md5"] for entry in json.loads(listing.read_text())]
    files = {digest: cache / digest[:2] / digest[2:] for digest in digests}
    return all(file.exists() and hash_file(file) == digest for digest, file in files.items())
