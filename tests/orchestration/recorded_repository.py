"""A tiny repository with raw files of its own, made once and recorded in git and DVC."""

import os
import shutil
from pathlib import Path

import yaml

from orchestration.workspace import ROOT
from tests.orchestration.command import onepiece, run
from tests.orchestration.tiny_repository import DVC, make_tiny_repository

SOURCE = "data/raw/world"


def make_recorded_repository(root: Path) -> Path:
    """Raw files in TencentGR's layout, everything up to a submission, and a commit of dvc.lock."""
    make_tiny_repository(root)
    share_compiled_code(root)
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        succeed("git", "config", key, value, cwd=root)
    done = onepiece("synthesize", SOURCE, cwd=root)
    assert done.returncode == 0, done.stderr
    set_parameters(root, "raw_data", format="tencent_parquet", source=SOURCE)
    succeed(DVC, "add", SOURCE, cwd=root)
    commit(root, "raw files of our own")
    done = onepiece("materialize", cwd=root)
    assert done.returncode == 0, done.stderr
    commit(root, "first submission")
    return root


def share_compiled_code(root: Path) -> None:
    """Spare a copy the half minute in which numba compiles what it has compiled for us."""
    for source in (root / "model").rglob("*.py"):
        ours = ROOT / source.relative_to(root)
        if not ours.exists() or ours.read_bytes() != source.read_bytes():
            continue
        facts = ours.stat()  # by which numba knows what it compiled
        os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        for compiled in ours.parent.glob(f"__pycache__/{ours.stem}.*.nb?"):
            (source.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(compiled, source.parent / "__pycache__")


def set_parameters(root: Path, section: str, **values: object) -> None:
    """Change a section of the repository's params.yaml."""
    file = root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params[section].update(values)
    file.write_text(yaml.safe_dump(params, sort_keys=False))


def commit(root: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    succeed("git", "add", "-A", cwd=root)
    succeed("git", "commit", "-qm", message, cwd=root)


def succeed(*command: object, cwd: Path) -> str:
    """Run a command that must succeed, and give what it printed."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
