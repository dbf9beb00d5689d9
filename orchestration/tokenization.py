"""`onepiece tokenize`: each modality's own semantic IDs, before there is any model."""

from collections.abc import Sequence

from assets.workspace import Workspace
from model.artifact import read_json
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.errors import InputError
from model.tokenizer.build import report_modality
from orchestration.materialization import materialize
from orchestration.report import collision_table, columns, coverage_table


def tokenize_modalities(workspace: Workspace, names: Sequence[str]) -> str:
    """Bring the coverage report and what it is made from up to date, then quantise.

    Args:
        workspace: parameters and data folder.
        names: modalities; none means all of the parameter file.

    Returns:
        The paper's tables 1 and 2 for these modalities, and the loss of each level.

    Raises:
        InputError: a name that the parameter file lacks, or bad input.
        RunFailedError: the coverage is not what the parameter file demands.
    """
    params = workspace.params
    known = params.modality_embeddings.modalities
    for name in names:
        if name not in known:
            raise InputError(
                f"{name}: no such modality; modality_embeddings.modalities of "
                f"{workspace.params_file} has {', '.join(known)}"
            )
    materialize(workspace, ["coverage_report"], only=False, tags={})
    coverage = read_json(workspace.folder("coverage_report") / "coverage.json")["modalities"]
    interactions = Interactions.load(workspace.folder("interactions"))
    rows = [
        report_modality(
            ModalityEmbedding.load(workspace.folder("modality_embeddings", name)),
            interactions,
            params.codebook,
            params.seed,
        )
        for name in names or known
    ]
    levels = [f"level {number}" for number in range(1, len(params.codebook.sizes) + 1)]
    losses = [
        [row["source"], *(f"{level['inertia']:.4f}" for level in row["levels"])] for row in rows
    ]
    return "\n\n".join(
        [
            "Coverage: items with a valid vector, of all items",
            coverage_table([(row["source"], coverage[row["source"]]) for row in rows]),
            "Mean squared distance to the centroid after each level",
            columns(["source", *levels], losses),
            "Collisions: items that share their semantic ID, before and after re-assignment",
            collision_table(rows),
        ]
    )
