"""A table of all submissions in DuckDB, which can always be rebuilt from the manifests."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from assets.lineage_text import measured_with
from assets.manifest_file import Manifest, read_manifest
from assets.workspace import SUBMISSION, Workspace
from model.errors import InputError

if TYPE_CHECKING:  # a runtime annotation outlives DuckDB at exit, which complains
    from duckdb import DuckDBPyConnection as Connection

logger = logging.getLogger("onepiece")

LEDGER_FILE = "submissions.duckdb"
_TABLE = """
CREATE OR REPLACE TABLE submissions (
    id VARCHAR PRIMARY KEY, created TIMESTAMPTZ, content VARCHAR, champion VARCHAR,
    git_revision VARCHAR, dirty BOOLEAN, device VARCHAR, seed BIGINT,
    hr_10 DOUBLE, ndcg_10 DOUBLE, score DOUBLE, metrics JSON, params JSON, measured VARCHAR
)
"""
_FIGURES = ("hr_10", "ndcg_10", "score", "measured")
COLUMNS = ("id", "created", "champion", "git_revision", "dirty", *_FIGURES)


def update_ledger(workspace: Workspace) -> Path | None:
    """Make the table match the submissions on disk; rebuild a damaged file.

    Returns:
        The DuckDB file; None where another process holds it, so that it is left as it is.
    """
    file = workspace.data / f".{LEDGER_FILE}"
    workspace.data.mkdir(parents=True, exist_ok=True)
    try:
        _enter_into(file, workspace)
    except (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException) as error:
        if "lock" in str(error).lower():
            logger.warning("%s: in use by another process, brought up to date later", file)
            return None
        logger.warning("%s: damaged, rebuilt from the manifests", file)
        file.unlink(missing_ok=True)
        _enter_into(file, workspace)
    return file


def read_ledger(workspace: Workspace) -> list[dict[str, Any]]:
    """All submissions, oldest first, with the columns of ``COLUMNS``."""
    query = f"SELECT {', '.join(COLUMNS)} FROM submissions ORDER BY created, id"
    with _open_to_read(workspace) as ledger:
        ledger.execute("SET TimeZone = 'UTC'")  # as the manifests have it
        return [dict(zip(COLUMNS, row, strict=True)) for row in ledger.execute(query).fetchall()]


def _open_to_read(workspace: Workspace) -> "Connection":
    file = update_ledger(workspace) if os.access(workspace.data, os.W_OK) else None
    if file is not None:
        return duckdb.connect(str(file), read_only=True)
    ledger = duckdb.connect()  # not writable by us: an in-memory table will do
    _enter(workspace, ledger)
    return ledger


def _enter_into(file: Path, workspace: Workspace) -> None:
    with duckdb.connect(str(file)) as ledger:
        _enter(workspace, ledger)


def _enter(workspace: Workspace, ledger: "Connection") -> None:
    """Rewrite the whole table: a folder may be gone, or be back with another manifest."""
    rows = list(_rows(workspace))
    ledger.begin()
    ledger.execute(_TABLE)
    for row in rows:
        marks = ", ".join("?" * len(row))
        ledger.execute(f"INSERT INTO submissions VALUES ({marks})", row)
    ledger.commit()


def _rows(workspace: Workspace) -> Iterator[list[Any]]:
    for path in sorted(workspace.folder(SUBMISSION).glob("*/manifest.json")):
        try:
            manifest = read_manifest(path.parent)
        except InputError as error:
            logger.warning("%s", error)
            continue
        if manifest["id"] == path.parent.name:
            yield _row(manifest)
        else:
            logger.warning("%s: a copy of submission %s, not listed", path.parent, manifest["id"])


def _row(manifest: Manifest) -> list[Any]:
    cascade = manifest["metrics"].get("cascade", {})
    champions = (path for path in manifest["artifacts"] if path.startswith("champion/"))
    return [
        manifest["id"],
        manifest["created"],
        manifest["content"],
        next(champions, "").removeprefix("champion/"),
        manifest["git"]["revision"],
        manifest["git"]["dirty"],
        manifest["device"],
        manifest["seed"],
        cascade.get("hr@10"),
        cascade.get("ndcg@10"),
        cascade.get("score"),
        json.dumps(manifest["metrics"]),
        json.dumps(manifest["params"]),
        measured_with(manifest).removeprefix(", measured ") or "as submitted",
    ]
