"""A guard of ``dvc.lock`` while a `dvc repro`, or a run that records in it, is alive.

DVC truncates the file and then writes it, after every stage. Killed in between it leaves an empty
or incomplete file, which every later `dvc` command refuses to read. The first stage of a `dvc
repro` starts a small process that remembers the last complete file, and restores it if DVC dies at
the wrong moment. What DVC had not recorded by then comes from its run cache or is made again.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

LOCK = "dvc.lock"  # in the repository's root
LOOK_SECONDS = 0.1
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dvc_above() -> int | None:
    """The process number of the `dvc` that this process is a stage of."""
    return next((one.pid for one in psutil.Process().parents() if _is_dvc(one)), None)


def start_guard(writer: int, root: Path) -> None:
    """Start a guard process, unless the writer has one.

    Args:
        writer: number of the process that writes ``dvc.lock``.
        root: of the repository.
    """
    try:
        marker = _marker(root, writer).open("w")
    except FileNotFoundError:  # not a DVC repository
        return
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # guarded already
            return
        subprocess.Popen(
            [sys.executable, "-m", "orchestration.lock_guard", str(writer), str(root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[marker.fileno()],  # the guard inherits the lock, which ends with it
        )


def guard(file: Path, lives: Callable[[], bool], seconds: float = LOOK_SECONDS) -> None:
    """Remember the last complete ``file`` until its writer is gone; then repair what it left.

    Args:
        file: a ``dvc.lock``.
        lives: whether its writer is alive.
        seconds: between two looks.
    """
    seen: tuple[int, int] | None = None
    whole: bytes | None = None
    while True:
        last_look = not lives()
        if last_look or _state(file) != seen:
            seen, content = _state(file), _content(file)
            if is_whole(content):
                whole = content
        if last_look:
            break
        time.sleep(seconds)
    if file.exists() and not is_whole(_content(file)):
        _mend(file, whole)


def is_whole(content: bytes | None) -> bool:
    """Whether this is a complete ``dvc.lock``: every stage and file has what DVC requires."""
    if not content or not content.endswith(b"\n"):
        return False
    try:
        lock = yaml.load(content, _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    stages = lock.get("stages") if isinstance(lock, dict) else None
    return isinstance(stages, dict) and all(map(_is_whole_stage, stages.values()))


def _is_whole_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or "cmd" not in stage:
        return False
    lists = [stage.get(name, []) for name in ("deps", "outs")]
    if not all(isinstance(one, list) for one in lists):
        return False
    return all(isinstance(one, dict) and len(one) > 1 for part in lists for one in part)


def _mend(file: Path, whole: bytes | None) -> None:
    """Restore the last complete file, or remove the broken one, so that DVC starts a new one."""
    if whole is None:
        file.unlink()
        return
    written = file.with_name(f"{file.name}.partial-{os.getpid()}")
    written.write_bytes(whole)
    written.replace(file)


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == "dvc" for word in process.cmdline()[:3])
    except psutil.Error:  # it ended, or belongs to another user
        return False


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marker(root: Path, pid: int) -> Path:
    return root / ".dvc" / "tmp" / f"guard-of-{pid}"


def main() -> None:
    """Guard the lock of a repository against the end of a process."""
    pid, root = int(sys.argv[1]), Path(sys.argv[2])
    try:
        guard(root / LOCK, partial(_lives, pid))
    finally:
        _marker(root, pid).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
