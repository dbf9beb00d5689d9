"""`onepiece verify`: does what lies on disk still hash to what the manifest says?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.frozen_codebook import FROZEN
from assets.hashing import HashCache, hash_file, hash_listing
from assets.lineage import LINEAGE_FILE, Lineage, content_files, differences
from assets.lineage_text import SHORT
from assets.manifest import ANCESTORS_FILE
from assets.manifest_file import Manifest, read_manifest, submission_damage
from assets.workspace import CHAMPION, SOURCE, Workspace, is_artifact
from model.artifact import read_json
from model.errors import InputError
from orchestration.dvc_storage import DvcStorage
from orchestration.submissions import find_submission, newest_id


@dataclass(frozen=True)
class Finding:
    """What was found out about one artefact.

    Attributes:
        path: below the data folder.
        problem: one sentence, or None if it is intact.
        note: where it was found, if not in its place.
    """

    path: str
    problem: str | None
    note: str = ""


def verify(workspace: Workspace, wanted: str | None) -> list[Finding]:
    """Check a submission and everything upstream of it, reading every byte.

    An older submission's ancestors may have been replaced since; they are then looked for in
    DVC's cache. The newest one's must lie in the data folder, except those that the training of a
    challenger that lost has replaced.

    Args:
        workspace: holds the submission and its ancestors.
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
    artifacts = manifest["artifacts"]
    newest = folder.name == newest_id(workspace)
    for name, recorded in artifacts.items():
        problems = _missing_parents(recorded["parents"], artifacts)
        found, note = _find(workspace, name, recorded["hash"], newest=newest)
        problems += [found] if found else []
        findings.append(Finding(name, "; ".join(problems) or None, note))
    findings += _verify_raw_files(workspace, manifest)
    return [*findings, *_verify_frozen_codebooks(artifacts)]


def describe(findings: Sequence[Finding]) -> str:
    """A line per finding, and how many are intact."""
    lines = []
    for finding in findings:
        mark = "ok " if finding.problem is None else "!! "
        lines.append(f"{mark}{finding.path}  {finding.problem or finding.note}".rstrip())
    whole = sum(finding.problem is None for finding in findings)
    return "\n".join([*lines, f"{whole} of {len(findings)} as the manifest says"])


def _verify_raw_files(workspace: Workspace, manifest: Manifest) -> list[Finding]:
    """The raw files in place, or DVC's copy of them; nothing for synthetic data."""
    if SOURCE not in manifest["artifacts"]["raw_data"]["parents"]:
        return []
    source = manifest["params"]["raw_data"]["source"]
    expected = {entry["path"]: entry["md5"] for entry in manifest["raw_files"]["files"]}
    changed = sorted(
        name
        for name, digest in expected.items()
        if not (Path(source) / name).is_file() or hash_file(Path(source) / name) != digest
    )
    if not changed:
        return [Finding(source, None)]
    storage = DvcStorage(workspace.root)
    if all(storage.file(expected[name]) for name in changed):
        return [Finding(source, None, "replaced since; intact in DVC's cache")]
    problem = f"{len(changed)} of its files are not as they were, such as {changed[0]}"
    return [Finding(source, problem)]


def _verify_frozen_codebooks(artifacts: Mapping[str, Any]) -> list[Finding]:
    """The published codebooks that the submission's own extend."""
    findings = []
    for entry in artifacts.values():
        folder = frozen_from(entry)
        if folder is not None:
            findings.append(Finding(str(folder), _problem_of_frozen(entry, folder)))
    return findings


def _problem_of_frozen(entry: Mapping[str, Any], folder: Path) -> str | None:
    if not folder.is_dir():
        return "it is missing"
    return None if is_frozen_intact(entry) else "it is not the codebook that was extended"


def frozen_from(entry: Mapping[str, Any]) -> Path | None:
    """The published codebook that an artefact of a manifest extends, if any."""
    extends = any(name.split("/")[0] == FROZEN for name in entry["parents"])
    return Path(entry["params"]["codebook"]["frozen_from"]) if extends else None


def is_frozen_intact(entry: Mapping[str, Any]) -> bool:
    """Whether the published codebook that an artefact extends, if any, is intact."""
    folder = frozen_from(entry)
    if folder is None:
        return True
    return folder.is_dir() and HashCache(None).hash_path(folder) in entry["parents"].values()


def _verify_submission(workspace: Workspace, folder: Path) -> Finding:
    problems = submission_damage(folder, HashCache(None))
    if not problems:
        artifacts = read_manifest(folder)["artifacts"]
        problems = _missing_parents(Lineage.read(folder).recipe.parents, artifacts)
    return Finding(folder.relative_to(workspace.data).as_posix(), "; ".join(problems) or None)


def _find(
    workspace: Workspace, name: str, expected: str, *, newest: bool
) -> tuple[str | None, str]:
    """A problem, or None; and where the artefact was found if not in its place."""
    path, _, replaced = name.partition("#")
    found = problem_on_disk(workspace, path, expected)
    if found is None:
        return None, ""
    challenger = _of_the_last_challenger(workspace).get(path)
    lost = challenger is not None and problem_on_disk(workspace, path, challenger) is None
    if newest and lost:
        return None, "a challenger that lost lies in its place; the champion keeps its own copy"
    if (replaced or not newest) and DvcStorage(workspace.root).holds(expected):
        return None, "replaced since; intact in DVC's cache"
    return found, ""


def problem_on_disk(workspace: Workspace, path: str, expected: str) -> str | None:
    """What is wrong with an artefact, given its expected hash, if anything; reads every byte."""
    folder = workspace.data / path
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


def _of_the_last_challenger(workspace: Workspace) -> dict[str, str]:
    """Hashes of what the newest judged model was made from, by path; empty without one."""
    try:
        judged = read_json(workspace.current_folder(CHAMPION) / ANCESTORS_FILE)
    except InputError:
        return {}
    return {path: entry["hash"] for path, entry in judged.items()}


def _missing_parents(parents: dict[str, str], artifacts: dict[str, Any]) -> list[str]:
    problems = []
    for name, expected in parents.items():
        if not is_artifact(name):
            continue
        keys = (name, f"{name}#{expected[:SHORT]}")
        recorded = [artifacts[key]["hash"] for key in keys if key in artifacts]
        if not recorded:
            problems.append(f"its parent {name} is not in the manifest")
        elif expected not in recorded:
            problems.append(f"it was made from another {name} ({expected})")
    return problems
