"""`onepiece tokenize`: semantic IDs of single sources, and of several methods side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from assets.codebook import usage_rows
from assets.device import DEVICE
from assets.report_metadata import decimal
from assets.workspace import Workspace
from model.artifact import read_json
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.errors import InputError
from model.params import CodebookParams
from model.tokenizer.build import report_source
from model.tokenizer.item_vectors import ItemVectors
from orchestration.materialization import materialize
from orchestration.report import collision_table, coverage_table
from orchestration.text_table import columns

COLLABORATIVE = "collaborative"
_NEAR = ("sid1", "vicinity")
METHODS: tuple[str, ...] = get_args(CodebookParams.model_fields["method"].annotation)


def tokenize_sources(
    workspace: Workspace, names: Sequence[str], methods: Sequence[str]
) -> dict[str, Any]:
    """Bring what the sources are made from up to date, then quantise each with each method.

    Args:
        workspace: parameters and data folder.
        names: modalities, or ``collaborative`` for the fused embeddings, which need a trained
            encoder; none means all modalities of the parameter file.
        methods: of ``codebook.method``; none means the parameter file's.

    Returns:
        ``coverage`` of the modalities among the sources, by name, as ``coverage.json`` has it, and
        ``collisions``: rows as in a codebook's ``report.json``, one per source and method.

    Raises:
        InputError: an unknown source or method, or bad input.
        RunFailedError: the coverage is below what the parameter file demands.
    """
    _require_known(workspace, names, methods)
    params = workspace.params
    chosen = list(names or params.modality_embeddings.modalities)
    needed = ["coverage_report"] + ["fused_embeddings"] * (COLLABORATIVE in chosen)
    materialize(workspace, needed, only=False, tags={})
    coverage = read_json(workspace.folder("coverage_report") / "coverage.json")["modalities"]
    interactions = Interactions.load(workspace.folder("interactions"))
    rows = []
    with workspace.device(DEVICE):
        for name in chosen:
            vectors = _open_vectors(workspace, name)
            for method in methods or [params.codebook.method]:
                settings = params.codebook.model_copy(update={"method": method})
                rows.append(report_source(vectors, interactions, settings, params.seed))
    return {
        "coverage": {name: coverage[name] for name in chosen if name in coverage},
        "collisions": rows,
    }


def _require_known(workspace: Workspace, names: Sequence[str], methods: Sequence[str]) -> None:
    modalities = workspace.params.modality_embeddings.modalities
    for name in names:
        if name not in (*modalities, COLLABORATIVE):
            raise InputError(
                f"{name}: no such modality; modality_embeddings.modalities of "
                f"{workspace.params_file} has {', '.join(modalities)}, and {COLLABORATIVE} "
                "stands for the fused embeddings"
            )
    for method in methods:
        if method not in METHODS:
            raise InputError(f"--method {method}: no such method; there are {', '.join(METHODS)}")


def _open_vectors(workspace: Workspace, name: str) -> ItemVectors:
    if name == COLLABORATIVE:
        return ItemVectors.of_fused(FusedEmbeddings.load(workspace.folder("fused_embeddings")))
    folder = workspace.folder("modality_embeddings", name)
    return ItemVectors.of_modality(ModalityEmbedding.load(folder))


def as_text(found: Mapping[str, Any]) -> str:
    """What :func:`tokenize_sources` found, as tables for a terminal.

    Returns:
        The paper's tables 1 and 2 for these sources, the loss and use of each level, what
        re-assignment costs, and how much of the neighbourhoods and of held-out co-occurrence the
        semantic IDs keep.
    """
    rows = _labelled(found["collisions"])
    tables = {
        "Mean squared distance to the centroid after each level": _loss_table(rows),
        "Use of each level's codes, before re-assignment": _usage_table(rows),
        "Collisions: items that share their semantic ID, before and after re-assignment": (
            collision_table(rows)
        ),
        "Cost of re-assignment: mean distance to the assigned centroid": _distance_table(rows),
        "Kept by the semantic IDs: of an item's nearest neighbours, and of held-out pairs of "
        "items,\nthose near in semantic ID (and by chance)": _quality_table(rows),
    }
    if found["coverage"]:
        title = "Coverage: items with a valid vector, of all items"
        tables = {title: coverage_table(list(found["coverage"].items()))} | tables
    return "\n\n".join(f"{title}\n\n{table}" for title, table in tables.items())


def _labelled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose source includes the method, where there are several methods."""
    several = len({row["method"] for row in rows}) > 1
    return [
        {**row, "source": f"{row['source']} {row['method']}" if several else row["source"]}
        for row in rows
    ]


def _loss_table(rows: Sequence[Mapping[str, Any]]) -> str:
    levels = [f"level {number}" for number in range(1, len(rows[0]["levels"]) + 1)]
    losses = [
        [row["source"], *(decimal(level["inertia"]) for level in row["levels"])] for row in rows
    ]
    return columns(["source", *levels], losses)


def _usage_table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        [
            row["source"],
            str(row["level"]),
            f"{row['used']:,}",
            f"{row['size']:,}",
            f"{row['gini']:.3f}",
            f"{row['entropy']:.3f}",
            f"{row['largest_share']:.3%}",
        ]
        for row in usage_rows(rows)
    ]
    header = ["source", "level", "used", "codes", "Gini", "entropy (bits)", "most used: items"]
    return columns(header, shown)


def _distance_table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        [
            row["source"],
            decimal(row["before"]["mean_distance"]),
            decimal(row["after"]["mean_distance"]),
            decimal(row["drift"]),
            f"{row['moved']:,}",
            f"{row['items']:,}",
        ]
        for row in rows
    ]
    return columns(["source", "before", "after", "drift", "items moved", "of"], shown)


def _quality_table(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["source", "neighbours: SID1", "vicinity", "pairs: SID1", "vicinity"]
    shown = []
    for row in rows:
        neighbors, pairs = row["quality"]["neighborhood"], row["quality"]["cooccurrence"]
        cells = [_beside_chance(neighbors[near], "recall@10") for near in _NEAR]
        if pairs is None:
            cells += ["no pairs"] * len(_NEAR)
        else:
            cells += [_beside_chance(pairs[near], "share") for near in _NEAR]
        shown.append([row["source"], *cells])
    return columns(header, shown)


def _beside_chance(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.3f} ({figures['chance']:.3f})"
