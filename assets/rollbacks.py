"""The record of rollbacks: a model that was rolled away from stays away until it is named again.

A model is identified by its weights and semantic IDs, not by the name of its judgement: it is
judged again, under another name, whenever a parameter of the cascade changes.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.lineage import Lineage
from assets.promotion import CHECKPOINT_FOLDER, CODEBOOK_FOLDER
from model.artifact import atomic_write, read_json
from model.errors import InputError
from model.network.checkpoint import WEIGHTS

RECORD_FILE = "rollbacks.json"  # beside the judged models, and kept with them
_DECISIVE = {CHECKPOINT_FOLDER: WEIGHTS, CODEBOOK_FOLDER: "codes.npy"}


def model_hashes(home: Path) -> dict[str, str] | None:
    """The hashes of a model's weights and semantic IDs, by folder; None if missing or damaged.

    Args:
        home: holds both folders: a judged model's, or the data folder for the newest.
    """
    try:
        return {name: Lineage.read(home / name).files[file] for name, file in _DECISIVE.items()}
    except InputError:
        return None


def note_rollback(home: Path, *, left: str, taken: str) -> None:
    """Record a rollback.

    Args:
        home: of all judged models.
        left: name of the former champion.
        taken: name of the new one.
    """
    entry: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "from": left,
        "to": taken,
    }
    entry["models"] = _hashes_by_name(home, entry)
    entries = json.dumps([*_entries(home), entry], indent=2, sort_keys=True)
    atomic_write(home / RECORD_FILE, f"{entries}\n")


def rolled_away_as(home: Path, model: dict[str, str] | None) -> str | None:
    """The name under which a model was last rolled away from; None if it never was, or is back.

    Args:
        home: of all judged models.
        model: its hashes.
    """
    name = None
    for entry in _entries(home) if model is not None else []:
        known = entry.get("models") or _hashes_by_name(home, entry)
        if known.get(entry["to"]) == model:
            name = None
        elif known.get(entry["from"]) == model:
            name = entry["from"]
    return name


def _hashes_by_name(home: Path, entry: dict[str, Any]) -> dict[str, dict[str, str] | None]:
    """The hashes of both models of an entry, which entries of earlier versions lack."""
    return {name: model_hashes(home / name) for name in (entry["from"], entry["to"])}


def _entries(home: Path) -> list[dict[str, Any]]:
    record = home / RECORD_FILE
    return read_json(record, remedy="put it back, or remove it") if record.exists() else []
