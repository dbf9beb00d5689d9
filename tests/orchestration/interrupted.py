"""Materialisations in processes that kill themselves at a chosen moment.

They are forked from a server that has imported everything once: a kill then costs little more than
what it destroys.
"""

import logging
import multiprocessing
import os
import re
import signal
from pathlib import Path

BEGUN, TRAINING = "as it begins", "in the middle of the training"
WHOLE, PUBLISHED = "before it takes its place", "before it is recorded"

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["orchestration.definitions", "dagster._core.storage.sql"])


def materialize(params_file: Path, data: Path, log: Path, death: tuple[str, str] | None) -> int:
    """Bring everything up to date in a process of its own.

    Args:
        params_file: of the world.
        data: its data folder.
        log: gets the lines that a user would see.
        death: the target and the moment at which the process kills itself; None lets it live.

    Returns:
        Its exit code; minus the signal's number when it was killed.
    """
    process = _SERVER.Process(target=_materialize, args=(params_file, data, log, death))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _materialize(params_file: Path, data: Path, log: Path, death: tuple[str, str] | None) -> None:
    from orchestration import materialization
    from orchestration.workspace import open_workspace

    logger = logging.getLogger("onepiece")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(log))
    if death is not None:
        _arrange(*death, logger)
    materialization.materialize(open_workspace(params_file, data), [], only=False, tags={})


def _arrange(target: str, moment: str, logger: logging.Logger) -> None:
    if moment in (BEGUN, TRAINING):
        line = "making it" if moment == BEGUN else r"\d+ of \d+ steps to go"
        logger.addHandler(_KillOnLine(f"{re.escape(target)}: {line}"))
    elif moment == WHOLE:
        _kill_in_place_of("assets.lineage", "Lineage", "write", target)
    else:
        _kill_in_place_of("assets.refusals", "Refusals", "note", target)


class _KillOnLine(logging.Handler):
    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._line = re.compile(f"(.* )?{pattern}")

    def emit(self, record: logging.LogRecord) -> None:
        if self._line.fullmatch(record.getMessage()):
            _die()


def _kill_in_place_of(module: str, owner: str, method: str, target: str) -> None:
    """Die where the method would be called for the target; let it be for all others."""
    kind = getattr(__import__(module, fromlist=[owner]), owner)
    original = getattr(kind, method)

    def die_or_go_on(self: object, *arguments: object) -> object:
        named = arguments[0] if method == "note" else _target(self)
        if named == target:
            _die()
        return original(self, *arguments)

    setattr(kind, method, die_or_go_on)


def _target(lineage: object) -> str:
    asset, partition = lineage.recipe.asset, lineage.recipe.partition
    return asset if partition is None else f"{asset}@{partition}"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
