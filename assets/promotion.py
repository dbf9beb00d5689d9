"""Champion and challenger: which model makes the submissions, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from model.artifact import read_json
from model.inference.champion import METRICS_FILE

if TYPE_CHECKING:
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
        challenger: its validation ``score`` and 95 % interval ``ci95``.
        incumbent: the champion before the decision: its folder name ``id``, and its ``score`` and
            ``ci95`` on the same data, None where it was not measured; None where there was none.
    """

    promoted: bool
    reason: str
    challenger: dict[str, Any]
    incumbent: dict[str, Any] | None

    @property
    def incumbent_id(self) -> str | None:
        """The folder name of the champion before the decision."""
        return None if self.incumbent is None else self.incumbent["id"]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a decision, also one of an earlier version: judged models are kept for good."""
        found = read_json(file)
        if "champion" in found:  # which was then the figures' key, and ``incumbent`` the name's
            figures, name = found.pop("champion"), found["incumbent"]
            found["incumbent"] = None if name is None else _incumbent(name, figures)
        return cls(**found)


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
    def checkpoint(self) -> "Checkpoint":
        """The model's own copy; only a promoted one has it."""
        # Not above: it imports torch, and commands that only read need not wait for that.
        from model.network.checkpoint import Checkpoint

        return Checkpoint.load(self.folder / CHECKPOINT_FOLDER)

    @property
    def codebook(self) -> "Codebook":
        """The semantic IDs that it was trained with; only a promoted one has them."""
        from model.tokenizer.codebook import Codebook

        return Codebook.load(self.folder / CODEBOOK_FOLDER)

    def save(self, folder: Path) -> None:
        """Do nothing: it is written when it is judged."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a judgement; the model itself is opened when it is asked for."""
        incumbent = folder / INCUMBENT_METRICS_FILE
        return cls(
            folder=folder,
            decision=Decision.read(folder / DECISION_FILE),
            metrics=read_json(folder / METRICS_FILE),
            incumbent_metrics=read_json(incumbent) if incumbent.exists() else None,
        )


def decide(
    challenger: Mapping[str, Any],
    measured: Mapping[str, Any] | None,
    *,
    incumbent: str | None,
    obstacle: str | None = None,
    left_as: str | None = None,
) -> Decision:
    """Promote unless the validation score falls below the champion's confidence interval.

    Test targets are not used: over many retrainings, models would be selected on them.

    Args:
        challenger: metrics of the new model.
        measured: metrics of the champion on the same data; None where it has none.
        incumbent: the champion's folder name; None where there is no champion.
        obstacle: why the champion has to be replaced, whatever its score.
        left_as: the name under which the challenger's weights and codebook were rolled away from;
            no score brings them back.
    """
    new = _standing(challenger)
    if incumbent is None:
        return Decision(True, "There was no champion before it.", new, None)
    if measured is None:
        assert obstacle is not None, "a champion that can be measured is measured"
        return Decision(True, obstacle, new, _incumbent(incumbent, None))
    old = _standing(measured)
    if left_as is not None:
        reason = (
            f"Its weights and codebook are those of {left_as}, which was rolled away from: they "
            f"are not promoted again until `onepiece rollback {left_as}`."
        )
        return Decision(False, reason, new, _incumbent(incumbent, old))
    floor = old["ci95"][0]
    promoted = new["score"] >= floor
    reason = (
        f"Its validation {METRIC} {new['score']:.4f} {'reaches' if promoted else 'falls below'} "
        f"the lower end {floor:.4f} of the champion's 95 % interval around {old['score']:.4f}."
    )
    return Decision(promoted, reason, new, _incumbent(incumbent, old))


def newest_measurement(champion: JudgedModel, latest: JudgedModel) -> tuple[Path, dict[str, Any]]:
    """The champion's newest metrics, and the judgement that has them: its own or a challenger's.

    Args:
        champion: whose metrics are wanted.
        latest: the newest judgement, of the champion itself or of a challenger.
    """
    if (
        latest.decision.incumbent_id == champion.folder.name
        and latest.incumbent_metrics is not None
    ):
        return latest.folder, latest.incumbent_metrics
    return champion.folder, champion.metrics


def _standing(metrics: Mapping[str, Any]) -> dict[str, Any]:
    validation = metrics["validation"]
    return {"score": validation[METRIC], "ci95": list(validation["ci95"][METRIC])}


def _incumbent(name: str, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    """A champion before a decision, whose ``figures`` are None where it was not measured."""
    return {"id": name, **(figures or {"score": None, "ci95": None})}
