"""`onepiece rebuild`: the same bytes again, from the code revision and data that a manifest names.

The code is checked out beside the repository, the parameters are written from the manifest, and
everything is made anew in a separate data folder.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from assets.lineage import Lineage
from assets.manifest import read_manifest
from assets.workspace import SUBMISSION, Workspace
from model.artifact import atomic_write
from model.errors import InputError
from orchestration.failures import RunFailedError
from orchestration.submissions import find_submission

logger = logging.getLogger("onepiece")


def rebuild(workspace: Workspace, wanted: str | None, target: Path) -> str:
    """Make a submission again and compare.

    Args:
        workspace: where the submission lies.
        wanted: its id; None for the newest.
        target: a folder for the checked-out code and the new artefacts.

    Returns:
        A sentence on what was compared.

    Raises:
        InputError: it cannot be rebuilt: no revision, uncommitted changes, or lost raw files.
        RunFailedError: what was made differs, or could not be made.
    """
    folder = find_submission(workspace, wanted)
    manifest = read_manifest(folder)
    _require_rebuildable(manifest)
    target.mkdir(parents=True, exist_ok=True)
    params_file, data = target / "params.yaml", target / "data"
    atomic_write(params_file, yaml.safe_dump(manifest["params"], sort_keys=False))
    with _checkout(workspace.root, manifest["git"]["revision"], target / "code") as code:
        _materialize(code, params_file, data)
    made = Workspace(
        root=workspace.root, params_file=params_file, params=workspace.params, data=data
    ).current_folder(SUBMISSION)
    return _compare(folder, made)


def _require_rebuildable(manifest: Mapping[str, Any]) -> None:
    git = manifest["git"]
    if git["revision"] is None:
        raise InputError(f"{manifest['id']}: made outside git, so its code is not known")
    if git["dirty"]:
        raise InputError(
            f"{manifest['id']}: made with uncommitted changes, so its code is not known; commit "
            "before making submissions that must be rebuilt"
        )


@contextmanager
def _checkout(root: Path, revision: str, folder: Path) -> Iterator[Path]:
    """A working tree of one revision, removed afterwards."""
    logger.info("checking out %s", revision[:12])
    _git(root, "worktree", "add", "--detach", "--force", str(folder), revision)
    try:
        yield folder
    finally:
        _git(root, "worktree", "remove", "--force", str(folder))


def _git(root: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InputError(f"git {arguments[0]}: {done.stderr.strip()}")


def _materialize(code: Path, params_file: Path, data: Path) -> None:
    """Run the pipeline with that code, here: relative paths of raw files are ours."""
    command = [sys.executable, "-m", "orchestration", "materialize", SUBMISSION]
    where = ["--params", str(params_file), "--data", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*command, *where], env=environment, check=False)
    if done.returncode != 0:
        raise RunFailedError(f"the rebuild ended with exit code {done.returncode}; see above")


def _compare(original: Path, made: Path) -> str:
    first, second = Lineage.read(original), Lineage.read(made)
    if first.content != second.content:
        differing = [name for name in first.files if first.files[name] != second.files.get(name)]
        raise RunFailedError(
            f"{original.name}: rebuilt, but {', '.join(differing)} differ; see {made}"
        )
    same = "the same id" if made.name == original.name else f"the id {made.name}"
    return f"{original.name}: rebuilt to the same bytes, under {same}, in {made}"
