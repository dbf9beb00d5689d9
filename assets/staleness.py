"""Whether an artefact is up to date with its recipe, and if not, what has changed."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from assets.lineage import LINEAGE_FILE, Lineage, Recipe, content_files, differences
from assets.manifest_file import submission_damage
from assets.stages import read_code
from assets.workspace import RAW_DATA, SOURCE, SUBMISSION, Workspace
from model.errors import InputError
from model.params import Params

logger = logging.getLogger("onepiece")

NOT_THERE = "not there yet"
_MOST_KEYS = 3  # that a reason names


def is_current(workspace: Workspace, recipe: Recipe) -> bool:
    """Whether the artefact on disk is what this recipe makes, byte for byte."""
    return why_outdated(workspace, recipe) is None


def why_outdated(workspace: Workspace, recipe: Recipe) -> str | None:
    """Why the artefact on disk is not what this recipe makes; None where it is, byte for byte."""
    if not workspace.folder(recipe.asset, recipe.partition).exists():
        return NOT_THERE
    try:
        folder = workspace.current_folder(recipe.asset, recipe.partition)
        lineage = Lineage.read(folder)
    except InputError as error:
        return str(error)
    if lineage.recipe != recipe:
        return ", ".join(changes(lineage.recipe, recipe))
    changed = _damage(workspace, lineage, folder)
    if changed:
        logger.warning("%s: %s; it will be made again", folder, changed[0])
        return f"damaged: {changed[0]}"
    return None


def edited_since(workspace: Workspace, recipe: Recipe) -> str | None:
    """What has changed in a recipe since this process read it; None if nothing has."""
    try:
        reread = replace(workspace, params=Params.load(workspace.params_file))
        now = reread.recipe(recipe.asset, recipe.partition)
    except InputError as error:
        return str(error)
    stage = workspace.stages[recipe.asset]
    now = replace(now, code=read_code(workspace.root, stage.code))
    return None if now == recipe else ", ".join(changes(recipe, now))


def require_recorded_source(workspace: Workspace, asset: str) -> None:
    """Refuse an artefact that was read from other raw files than its lineage records.

    Raises:
        InputError: the raw files' content has changed since ``raw_data`` was made.
    """
    raw_data = workspace.params.raw_data
    if RAW_DATA not in workspace.stages[asset].inputs or raw_data.format == "synthetic":
        return
    recorded = Lineage.read(workspace.folder(RAW_DATA)).recipe.parents.get(SOURCE)
    if workspace.source_hash() != recorded:
        raise InputError(
            f"{raw_data.source}: changed since raw_data was materialised; "
            "materialise raw_data again"
        )


def _damage(workspace: Workspace, lineage: Lineage, folder: Path) -> list[str]:
    if lineage.recipe.asset != SUBMISSION:
        return differences(lineage, content_files(folder, workspace.hashes))
    return submission_damage(folder, workspace.hashes)


def changes(made: Recipe, wanted: Recipe) -> Iterator[str]:
    """What differs between the recipe that an artefact was made from and another."""
    parents = _differing(made.parents, wanted.parents)
    if SOURCE in parents:
        yield "other raw files"
    if others := [name for name in parents if name != SOURCE]:
        yield f"made from another {' and '.join(others)}"
    if keys := _differing(flattened(made.params), flattened(wanted.params)):
        more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
        yield f"other parameters ({', '.join(keys[:_MOST_KEYS])}{more})"
    if made.code != wanted.code:
        yield "other code"
    if made.seed != wanted.seed:
        yield "another seed"
    if (made.asset, made.partition) != (wanted.asset, wanted.partition):
        yield " ".join([f"its {LINEAGE_FILE} is of {made.asset}", *filter(None, [made.partition])])


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    missing = object()
    names = sorted(first.keys() | second.keys())
    return [name for name in names if first.get(name, missing) != second.get(name, missing)]


def flattened(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys; everything else as it is."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flattened(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
