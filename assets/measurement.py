"""The champion's metrics, and the parameters and data that it was measured with."""

from dataclasses import dataclass
from typing import Any

from assets.lineage import Lineage, folder_hash
from assets.promotion import JudgedModel, newest_measurement
from assets.workspace import CHAMPION, Workspace

_DATA = "interactions"  # made again with every delivery


@dataclass(frozen=True)
class Measurement:
    """Metrics of the champion.

    Attributes:
        metrics: of its newest evaluation.
        measured_with: cascade parameters of that evaluation that differ from the present ones.
        measured_on: hash of the interactions of that evaluation, by name, if others replaced them.
    """

    metrics: dict[str, Any]
    measured_with: dict[str, Any]
    measured_on: dict[str, str]


def measure_of_champion(workspace: Workspace) -> Measurement:
    """The newest measurement of the model that submits."""
    champion = JudgedModel.load(workspace.input_folder(CHAMPION))
    latest = JudgedModel.load(workspace.current_folder(CHAMPION))
    judged, metrics = newest_measurement(champion, latest)
    recipe = Lineage.read(judged).recipe
    measured, submits = recipe.params["cascade"], workspace.values["cascade"]
    others = {name: value for name, value in measured.items() if submits.get(name) != value}
    data = recipe.parents[_DATA]
    same = data == folder_hash(workspace.folder(_DATA))
    return Measurement(metrics, others, {} if same else {_DATA: data})
