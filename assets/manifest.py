"""A submission's manifest: everything that it came from, back to the raw files, and when and where.

Unlike ``lineage.json``, which is deterministic, the manifest also records the circumstances: time,
run, git revision, packages, device. It carries its own hash, which reveals later edits.
"""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from assets.hashing import hash_bytes
from assets.lineage import MANIFEST_FILE, PAGE_FILE, Lineage, folder_hash
from assets.lineage_page import as_page
from assets.lineage_text import SHORT
from assets.manifest_file import Manifest, Origin, manifest_hash, version_name
from assets.measurement import Measurement
from assets.workspace import CHAMPION, CODEBOOK, Workspace, is_artifact
from model.artifact import read_json, write_json

_PACKAGES = ("torch", "faiss-cpu", "faiss-gpu", "numpy", "scipy", "scikit-learn", "pandas", "numba")
_PACKAGES_OF_STACK = ("pyarrow", "duckdb", "safetensors", "pydantic", "dagster", "dvc")
_CODE = ("model/", "assets/", "orchestration/")
ANCESTORS_FILE = "ancestors.json"  # of a judged model: what it was made from, as it was then


def write_manifest(
    workspace: Workspace,
    folder: Path,
    *,
    run_id: str,
    device: str,
    measurement: Measurement,
) -> None:
    """Describe a finished submission in its own folder, for machines and as a page.

    Args:
        workspace: where its ancestors lie.
        folder: holds the submission and its lineage.
        run_id: of the Dagster run that made it.
        device: what it was computed on.
        measurement: of the model behind it.
    """
    lineage = Lineage.read(folder)
    manifest: Manifest = {
        "id": version_name(lineage),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": lineage.content,
        "lineage": lineage.hash,
        **origin(workspace, lineage.recipe.parents),
        "device": device,
        "dagster_run": run_id,
        "metrics": measurement.metrics,
        "measured_with": measurement.measured_with,
        "measured_on": measurement.measured_on,
    }
    page = as_page(manifest, workspace.data).encode()
    (folder / PAGE_FILE).write_bytes(page)
    manifest["page"] = hash_bytes(page)
    write_json(folder / MANIFEST_FILE, {**manifest, "hash": manifest_hash(manifest)})


def origin(workspace: Workspace, parents: Mapping[str, str]) -> Origin:
    """What something was made from, with which parameters, by which code and packages.

    Args:
        workspace: where its ancestors lie.
        parents: folder hash of everything that was read, by path below the data folder.
    """
    return {
        "artifacts": ancestors(workspace, parents),
        "raw_files": read_json(workspace.folder("raw_data") / "raw_data.json"),
        "params": workspace.values,
        "seed": workspace.params.seed,
        "git": git_state(workspace.root),
        "packages": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def ancestors(workspace: Workspace, parents: Mapping[str, str]) -> dict[str, Any]:
    """Every artefact upstream: its folder hash and its recipe, by path below the data folder.

    The codebook also has its ``generation`` and ``revision``, by which other systems know its IDs,
    and ``semantic_ids``, which tells two re-assignments of one revision apart.
    What a champion was made from may have been replaced since in the data folder; its own record
    is then listed beside the new one, as ``path#hash``.
    """
    found: dict[str, Any] = {}

    def add(path: str) -> None:
        folder = workspace.data / path
        if path in found or not is_artifact(path):
            return
        recipe = Lineage.read(folder).recipe
        found[path] = {
            "hash": folder_hash(folder),
            "parents": recipe.parents,
            "params": recipe.params,
            "code": recipe.code,
            "seed": recipe.seed,
            **_generation(path, folder),
        }
        if recipe.asset != CHAMPION:
            for parent in recipe.parents:
                add(parent)

    for parent in parents:
        add(parent)
    for path in [path for path in found if path.startswith(f"{CHAMPION}/")]:
        for name, entry in read_json(workspace.data / path / ANCESTORS_FILE).items():
            known = found.get(name)
            if known is None:
                found[name] = entry
            elif known["hash"] != entry["hash"]:
                found[f"{name}#{entry['hash'][:SHORT]}"] = entry
    return dict(sorted(found.items()))


def _generation(path: str, folder: Path) -> dict[str, Any]:
    """What identifies a codebook, whether or not it extends another; empty for other artefacts."""
    if path != CODEBOOK:
        return {}
    facts = read_json(folder / "codebook.json")
    names = ("generation", "revision", "semantic_ids")
    return {name: facts[name] for name in names if name in facts}


def git_state(root: Path) -> dict[str, Any]:
    """The revision, and whether the working tree differs from it.

    ``dvc.lock`` does not count, as it is an output; nor do untracked files that are not code, as
    users may keep data folders and parameter files anywhere.
    """
    revision = _git(root, "rev-parse", "HEAD")
    if revision is None:
        return {"revision": None, "dirty": None}
    changed = (_git(root, "status", "--porcelain", "-z") or "").split("\0")
    return {"revision": revision, "dirty": any(map(_decides, filter(None, changed)))}


def _decides(entry: str) -> bool:
    """Whether an entry of ``git status --porcelain -z`` names a file that may affect an artefact.

    A file's earlier name follows as one more entry, after a change that counts already.
    """
    state, path = entry[:2], entry[3:]
    return path.startswith(_CODE) if state == "??" else path != "dvc.lock"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.rstrip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in (*_PACKAGES, *_PACKAGES_OF_STACK):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # only one of the two faiss builds is installed
            continue
    return found
