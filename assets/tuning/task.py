"""The identity of a study: everything that decides the result of a trial with given values."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.hashing import hash_bytes
from assets.tuning.space import touches_codebook
from assets.workspace import CODEBOOK, FROZEN, Workspace
from model.training import ENCODER, RECOMMENDER

TUNING_STUDY = "tuning_study"  # asset, stage and section
_COUNTS = ("num_trials", "num_processes")  # more of either continues the same study
_OVERRULED = ("epochs", "validate_every_epochs", "checkpoint_minutes")  # by the study, or unused


@dataclass(frozen=True)
class StudyTask:
    """The lineage that all trials share: all but their own values.

    Attributes:
        parents: hash of every artefact that a trial reads, by path below the data folder.
        params: the sections that matter, without the keys that the study draws.
        code: hash of the code.
        seed: of every training.
    """

    parents: dict[str, str]
    params: dict[str, Any]
    code: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the study: another task is another study."""
        return hash_bytes(json.dumps(asdict(self), sort_keys=True).encode())

    @classmethod
    def of(cls, workspace: Workspace) -> "StudyTask":
        """The task of a workspace as it is now.

        Raises:
            InputError: an upstream artefact is missing.
        """
        recipe = workspace.recipe(TUNING_STUDY)
        settings = workspace.params.tuning_study
        touched = touches_codebook(settings.space)
        params = json.loads(json.dumps(recipe.params))
        for section in _unread_sections(settings.training, touched=touched):
            del params[section]
        for name in _COUNTS:
            del params[TUNING_STUDY][name]
        for dotted in (*settings.space, *(f"{settings.training}.{key}" for key in _OVERRULED)):
            _remove(params, dotted)
        unread = _unread_parents(settings.training, touched=touched)
        parents = {
            path: one for path, one in recipe.parents.items() if path.split("/")[0] not in unread
        }
        return cls(parents, params, recipe.code, recipe.seed)


def home_of(workspace: Workspace) -> Path:
    """Where the journal and unfinished trials are kept between runs."""
    return workspace.data / ".resume" / TUNING_STUDY


def _unread_parents(training: str, *, touched: bool) -> set[str]:
    """Artefacts upstream of the asset that do not affect this study."""
    if training == ENCODER:
        return {ENCODER, CODEBOOK, FROZEN, "fused_embeddings"}
    return {CODEBOOK} if touched else {FROZEN, "fused_embeddings"}


def _unread_sections(training: str, *, touched: bool) -> set[str]:
    """Parameter sections of the asset that do not affect this study."""
    other = {ENCODER, RECOMMENDER} - {training}
    return other if touched and training == RECOMMENDER else {*other, CODEBOOK}


def _remove(values: dict[str, Any], dotted: str) -> None:
    *path, last = dotted.split(".")
    for key in path:
        values = values.get(key, {})
    values.pop(last, None)
