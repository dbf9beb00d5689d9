"""Champion and challenger: which model makes the submissions, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from model.artifact import read_json
from model.inference.champion import METRICS_FILE
from model.network.checkpoint import Checkpoint
from model.tokenizer.codebook import Codebook

METRIC = "score"  # the competition's, of the cascade, on validation targets
DECISION_FILE = "decision.json"
INCUMBENT_METRICS_FILE = "incumbent_metrics.json"  # the champion's, on the same targets
CHECKPOINT_FOLDER, CODEBOOK_FOLDER = "recommender_checkpoint", "codebook"


@dataclass(frozen=True)
class Decision:
    """Whether a challenger replaces the champion.

    Attributes:
        promoted: whether it does.
        reason: one sentence with the numbers.
        challenger: its validation score and 95 % interval.
        champion: the champion's on the same data, or None where there was nothing to compare with.
        incumbent: the champion's folder name before the decision, or None.
    """

    promoted: bool
    reason: str
    challenger: dict[str, Any]
    champion: dict[str, Any] | None
    incumbent: str | None


@dataclass(frozen=True)
class JudgedModel:
    """A model that was measured against the champion; a promoted one is kept with its weights.

    Attributes:
        folder: of the judgement.
        decision: and its reason.
        metrics: of its evaluation.
        incumbent_metrics: the champion's on the same targets; None where it was not measured.
    """

    folder: Path
    decision: Decision
    metrics: dict[str, Any]
    incumbent_metrics: dict[str, Any] | None

    @property
    def checkpoint(self) -> Checkpoint:
        """The model's own copy; only a promoted one has it."""
        return Checkpoint.load(self.folder / CHECKPOINT_FOLDER)

    @property
    def codebook(self) -> Codebook:
        """The semantic IDs that it was trained with; only a promoted one has them."""
        return Codebook.load(self.folder / CODEBOOK_FOLDER)

    def save(self, folder: Path) -> None:
        """Do nothing: it is written when it is judged."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a judgement; the model itself is opened when it is asked for."""
        incumbent = folder / INCUMBENT_METRICS_FILE
        return cls(
            folder=folder,
            decision=Decision(**read_json(folder / DECISION_FILE)),
            metrics=read_json(folder / METRICS_FILE),
            incumbent_metrics=read_json(incumbent) if incumbent.exists() else None,
        )


def decide(
    challenger: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    *,
    incumbent: str | None,
    obstacle: str | None = None,
    left_as: str | None = None,
) -> Decision:
    """Promote unless the validation score falls below the champion's confidence interval.

    Test targets are not used: over many retrainings, models would be selected on them.

    Args:
        challenger: metrics of the new model.
        champion: metrics of the champion on the same data; None where it has none.
        incumbent: the champion's folder name.
        obstacle: why the champion has to be replaced, whatever its score.
        left_as: the name under which the challenger's weights and codebook were rolled away from;
            no score brings them back.
    """
    new = _standing(challenger)
    if champion is None:
        reason = obstacle or "There was no champion before it."
        return Decision(True, reason, new, None, incumbent)
    old = _standing(champion)
    if left_as is not None:
        reason = (
            f"Its weights and codebook are those of {left_as}, which was rolled away from: they "
            f"are not promoted again until `onepiece rollback {left_as}`."
        )
        return Decision(False, reason, new, old, incumbent)
    floor = old["ci95"][0]
    promoted = new["score"] >= floor
    reason = (
        f"Its validation {METRIC} {new['score']:.4f} {'reaches' if promoted else 'falls below'} "
        f"the lower end {floor:.4f} of the champion's 95 % interval around {old['score']:.4f}."
    )
    return Decision(promoted, reason, new, old, incumbent)


def newest_measurement(champion: JudgedModel, latest: JudgedModel) -> tuple[Path, dict[str, Any]]:
    """The champion's newest metrics, and the judgement that has them: its own or a challenger's.

    Args:
        champion: whose metrics are wanted.
        latest: the newest judgement, of the champion itself or of a challenger.
    """
    if latest.decision.incumbent == champion.folder.name and latest.incumbent_metrics is not None:
        return latest.folder, latest.incumbent_metrics
    return champion.folder, champion.metrics


def _standing(metrics: Mapping[str, Any]) -> dict[str, Any]:
    validation = metrics["validation"]
    return {"score": validation[METRIC], "ci95": list(validation["ci95"][METRIC])}
