"""Which model makes the submissions: one folder holds all judged models, and a file names it."""

from pathlib import Path

from model.artifact import named_version, read_json
from model.params import CascadeParams

CHAMPION = "champion"  # folder of the judged models
CHAMPION_FILE = "champion"  # names the champion among them
METRICS_FILE = "metrics.json"  # of a model's evaluation


def champion_folder(data: Path) -> Path:
    """The folder with the champion's checkpoint and codebook.

    Args:
        data: holds one folder per artefact.

    Raises:
        InputError: no model has become the champion yet.
    """
    return named_version(data / CHAMPION, CHAMPION_FILE)


def beam_weight_of(measured: Path, cascade: CascadeParams) -> float:
    """The beam weight that a measured model recommends with.

    Args:
        measured: the folder with its metrics: of its evaluation report, or of the judged model.
        cascade: its ``beam_weight`` is used as given where it is a number; ``validation`` takes
            the one tuned in the model's evaluation. Without beams, the weight is 0.

    Raises:
        InputError: its metrics are missing or damaged.
    """
    if cascade.num_sids == 0:
        return 0.0
    if cascade.beam_weight != "validation":
        return cascade.beam_weight
    return float(read_json(measured / METRICS_FILE)["beam_weight"])
