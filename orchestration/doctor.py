"""`onepiece doctor`: what is installed, what runs here, what is missing and how to get it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_NEEDED_FREE_BYTES = 5 * 10**9  # the demo with its DVC cache, generously


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: of what was looked at.
        state: what was found.
        remedy: what to do, or empty when all is well.
        fatal: whether the pipeline cannot run like this.
    """

    name: str
    state: str
    remedy: str = ""
    fatal: bool = True


def examine(data: Path) -> tuple[str, bool]:
    """Look at everything.

    Args:
        data: the folder whose disk will be written to.

    Returns:
        The report, and whether the pipeline can run.
    """
    found = (_system(), _python(), _packages(), _faiss(), _devices(), _tools(), _disk(data))
    findings = [finding for part in found for finding in part]
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        mark = "ok " if not finding.remedy else ("!! " if finding.fatal else "-- ")
        lines.append(f"{mark}{finding.name:{width}}  {finding.state}")
        if finding.remedy:
            lines.append(f"   {'':{width}}  -> {finding.remedy}")
    healthy = not any(finding.remedy and finding.fatal for finding in findings)
    lines.append("Everything that is needed is here." if healthy else "Something is missing (!!).")
    return "\n".join(lines), healthy


def describe_version() -> str:
    """The project's version, and the git revision as a manifest records it."""
    from assets.lineage_text import code_version
    from assets.manifest import git_state

    return f"onepiece {_project()['version']}, revision {code_version(git_state(ROOT))}"


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _system() -> Iterator[Finding]:
    linux = sys.platform == "linux"
    yield Finding("system", sys.platform, "" if linux else "use Linux, such as in a container")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Finding("python", version, "" if fits else "use Python 3.11 or 3.12: make PYTHON=...")


def _packages() -> Iterator[Finding]:
    for name in _needed():
        version = _version(name)
        yield Finding(name, version or "missing", "" if version else "make install")
    webserver, dagster = _version("dagster-webserver"), _version("dagster")
    if webserver != dagster:
        yield Finding(
            "dagster pair",
            f"dagster {dagster}, webserver {webserver}",
            "keep them equal: make install",
        )


def _needed() -> list[str]:
    """The packages that pyproject.toml requires now; an installation's metadata may be older."""
    return [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in _project()["dependencies"]]


def _faiss() -> Iterator[Finding]:
    builds = [name for name in ("faiss-cpu", "faiss-gpu") if _version(name)]
    problem = _import_problem("faiss") if len(builds) == 1 else ""
    if problem:
        yield Finding("faiss", f"{builds[0]}: {problem}", "rm -rf .venv && make install")
    elif len(builds) == 1:
        yield Finding("faiss", f"{builds[0]} {_version(builds[0])}")
    elif builds:
        yield Finding(
            "faiss",
            " and ".join(builds),
            "both provide one module: rm -rf .venv && make install (GPU=1 for the GPU build)",
        )
    else:
        yield Finding("faiss", "missing", "make install, or make install GPU=1")


def _devices() -> Iterator[Finding]:
    yield Finding("processors", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}")
    if not _version("torch"):
        return
    if problem := _import_problem("torch"):
        yield Finding("torch", problem, "rm -rf .venv && make install")
        return
    import torch

    built_for = torch.version.cuda
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        facts = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if count == 0:
        here = shutil.which("nvidia-smi") is not None
        remedy = "make install GPU=1 in a new .venv, and check the driver" if here else ""
        build = f"torch is built for CUDA {built_for}" if built_for else "torch is built for CPU"
        yield Finding("cuda", f"no device is usable ({build})", remedy, fatal=False)


def _tools() -> Iterator[Finding]:
    git = shutil.which("git")
    yield Finding(
        "git",
        _first_line("git", "--version") if git else "missing",
        "" if git else "apt install git: DVC needs it",
    )
    in_git = (ROOT / ".git").exists()
    yield Finding(
        "repository",
        "git" if in_git else "not a git repository",
        "" if in_git else "git clone the project: DVC records nothing outside one",
        fatal=False,
    )


def _disk(data: Path) -> Iterator[Finding]:
    existing = next(
        parent for parent in (data.absolute(), *data.absolute().parents) if parent.exists()
    )
    free = shutil.disk_usage(existing).free
    enough = free >= _NEEDED_FREE_BYTES
    yield Finding(
        "free disk",
        f"{free / 1e9:.1f} GB at {existing}",
        ""
        if enough
        else f"the demo needs about {_NEEDED_FREE_BYTES / 1e9:.0f} GB with DVC's cache",
        fatal=False,
    )
    writable = os.access(existing, os.W_OK)
    yield Finding("writable", str(existing), "" if writable else "choose another --data folder")


def _import_problem(module: str) -> str:
    """What keeps a package that is installed from working; empty when nothing does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a library that is not there, or built against another NumPy
        return f"cannot be imported ({' '.join(str(error).split())})"
    return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
