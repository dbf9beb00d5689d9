"""`onepiece rebuild`: the same bytes again, from the code revision and data that a manifest names.

The code is checked out beside the repository, the parameters are written from the manifest, and
everything is made again in a data folder that no other submission shares, since the champion of one
would decide whether that of another is promoted. Raw files that have changed since, and a champion
of an earlier run, are restored by their hashes.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from assets.device import device_name
from assets.lineage import Lineage
from assets.locks import locked
from assets.manifest_file import Manifest, read_manifest
from assets.stages import load_stages
from assets.workspace import (
    CHAMPION,
    CODEBOOK,
    LATEST_FILE,
    RAW_DATA,
    SOURCE,
    SUBMISSION,
    Workspace,
)
from model.artifact import atomic_folder, atomic_write
from model.errors import InputError
from model.inference.champion import CHAMPION_FILE
from orchestration.dvc_storage import DvcStorage
from orchestration.failures import RunFailedError
from orchestration.rebuild_plan import RebuildPlan, Revision, plan_rebuild
from orchestration.submissions import find_submission
from orchestration.verification import is_frozen_intact, problem_on_disk

logger = logging.getLogger("onepiece")


def rebuild(workspace: Workspace, wanted: str | None, target: Path) -> str:
    """Make a submission again and compare the two.

    Args:
        workspace: where the submission lies.
        wanted: its id; None for the newest.
        target: a folder for the checked-out code and the new artefacts.

    Returns:
        A sentence on what was compared, and one on each thing that was not made again.

    Raises:
        InputError: it cannot be rebuilt: no revision, code that was never committed, or lost data.
        RunFailedError: what was made differs, or could not be made.
    """
    folder = find_submission(workspace, wanted)
    manifest, lineage = read_manifest(folder), Lineage.read(folder)
    revision = manifest["git"]["revision"]
    if revision is None:
        raise InputError(f"{manifest['id']}: made outside git, so its code is not known")
    target.mkdir(parents=True, exist_ok=True)
    params_file, data = target / "params.yaml", target / "data" / manifest["id"]
    with (
        locked(target / ".lock", fcntl.LOCK_EX),  # another would take the working tree away
        _checkout(workspace.root, revision, target / "code") as code,
    ):
        stages, params = load_stages(code.resolve()), manifest["params"]
        made_by = Revision(code.resolve(), stages, params, manifest["seed"])
        storage = DvcStorage(workspace.root)
        source = _find_raw_files(workspace, manifest, storage, target / "raw")
        plan = plan_rebuild(
            manifest,
            lineage.recipe.parents,
            made_by,
            raw_lost=source is None,
            frozen_lost=not all(map(is_frozen_intact, manifest["artifacts"].values())),
        )
        _put_in_place(workspace, manifest, storage, plan, data)
        values = _parameters(params, source, plan)
        atomic_write(params_file, yaml.safe_dump(values, sort_keys=False))
        _materialize(code, plan.targets, params_file, data)
    made = data / SUBMISSION / (data / SUBMISSION / LATEST_FILE).read_text().strip()
    return "; ".join([_compare(folder, made, manifest["device"]), *plan.why])


def _find_raw_files(
    workspace: Workspace, manifest: Manifest, storage: DvcStorage, restored: Path
) -> str | None:
    """The folder of the unchanged raw files: the original or a restored one; None if lost."""
    source = manifest["params"]["raw_data"]["source"]
    recorded = manifest["artifacts"][RAW_DATA]["parents"].get(SOURCE)
    if recorded is None:  # synthetic: generated again
        return source
    if Path(source).exists() and workspace.hashes.hash_visible(Path(source)) == recorded:
        return source
    files = {entry["path"]: entry["md5"] for entry in manifest["raw_files"]["files"]}
    lost = storage.restore(files, restored, beside=Path(source))
    if lost:
        logger.info("%s: not as it was, and %s is not in DVC's cache", source, lost[0])
        return None
    logger.info("%s: not as it was; restored by hash in %s", source, restored)
    return str(restored)


def _parameters(params: Mapping[str, Any], source: str | None, plan: RebuildPlan) -> dict[str, Any]:
    """The manifest's parameters, adjusted for restored raw files and a codebook that is taken.

    No other asset depends on the section ``codebook``. Changing it skips the check, before the
    encoder is trained, whether a codebook is possible: the one that it extends may be gone.
    """
    raw = {**params[RAW_DATA], "source": source or params[RAW_DATA]["source"]}
    values = {**params, RAW_DATA: raw}
    if CODEBOOK in plan.taken:
        values[CODEBOOK] = {**params[CODEBOOK], "frozen_from": None, "reassignment": "none"}
    return values


def _put_in_place(
    workspace: Workspace,
    manifest: Manifest,
    storage: DvcStorage,
    plan: RebuildPlan,
    data: Path,
) -> None:
    """Copy what is taken from the data folder, or restore it from DVC's cache, by hash.

    Raises:
        InputError: it is in neither of them.
    """
    for key, entry in manifest["artifacts"].items():
        if key.split("/")[0] not in plan.taken or "#" in key:
            continue
        if problem_on_disk(workspace, key, entry["hash"]) is None:
            with atomic_folder(data / key) as out:
                shutil.copytree(workspace.data / key, out, dirs_exist_ok=True)
        else:
            _restore(manifest, storage, key, data / key)
        if key.startswith(f"{CHAMPION}/"):
            for pointer in (CHAMPION_FILE, LATEST_FILE):
                atomic_write(data / CHAMPION / pointer, f"{key.removeprefix(f'{CHAMPION}/')}\n")


def _restore(manifest: Manifest, storage: DvcStorage, key: str, folder: Path) -> None:
    digest = manifest["artifacts"][key]["hash"]
    storage.fetch([digest])
    files = storage.listing(digest)
    if files is None or storage.restore(files, folder, beside=folder):
        raise InputError(
            f"{manifest['id']}: {key} ({digest}) is neither in the data folder nor in DVC's cache "
            "or remote, and cannot be made again; put back the raw files, or `dvc fetch` it"
        )


@contextmanager
def _checkout(root: Path, revision: str, folder: Path) -> Iterator[Path]:
    """A working tree of one revision, removed afterwards; a killed rebuild's is replaced."""
    logger.info("checking out %s", revision[:12])
    if folder.exists():
        _git(root, "worktree", "remove", "--force", str(folder.absolute()))
    _git(root, "worktree", "add", "--detach", "--force", str(folder.absolute()), revision)
    try:
        yield folder
    finally:
        _git(root, "worktree", "remove", "--force", str(folder.absolute()))


def _git(root: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InputError(f"git {arguments[0]}: {done.stderr.strip()}")


def _materialize(code: Path, targets: Sequence[str], params_file: Path, data: Path) -> None:
    """Run that code's pipeline in this directory, to which raw files' paths are relative."""
    command = [sys.executable, "-m", "orchestration", "materialize", "--only", *targets]
    where = ["--params", str(params_file), "--data", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(code.absolute()), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*command, *where], env=environment, check=False)
    if done.returncode != 0:
        raise RunFailedError(f"the rebuild ended with exit code {done.returncode}; see above")


def _compare(original: Path, made: Path, device: str) -> str:
    first, second = Lineage.read(original), Lineage.read(made)
    if first.content != second.content:
        differing = [name for name in first.files if first.files[name] != second.files.get(name)]
        here = device_name()
        reason = "" if here == device else f" (it was made on {device}, this is {here})"
        raise RunFailedError(
            f"{original.name}: rebuilt, but {', '.join(differing)} differ{reason}; see {made}"
        )
    same = "the same id" if made.name == original.name else f"the id {made.name}"
    return f"{original.name}: rebuilt to the same bytes, under {same}, in {made}"
