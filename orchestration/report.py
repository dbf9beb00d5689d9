"""`onepiece report`: the results of a run, on one screen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assets.lineage_text import measured_with
from assets.measurement import measure_of_champion
from assets.promotion import JudgedModel
from assets.workspace import CHAMPION, SUBMISSION, Workspace
from model.artifact import first_value, read_json
from model.errors import InputError
from model.inference.comparison import UNTOLD, compare_cascade, without_being_told
from model.inference.submission_files import RESULT, TABLE
from orchestration.follow_up import follow_up, has_defaults
from orchestration.text_table import columns

ACTIONS = ("exposures", "clicks", "conversions")
PATHS = ("popularity", "cooccurrence", "embedding", "sid", "cascade")
METRICS = {"hr@10": "HR@10", "ndcg@10": "NDCG@10", "score": "score"}
_NEEDED = {"masked_actions", "beam_weight_tuned", "search_alone", UNTOLD}  # not in earlier versions


def read_facts(workspace: Workspace) -> dict[str, Any]:
    """The facts of the report, as the artefacts hold them.

    Returns:
        ``coverage`` by modality, ``collisions`` by source, the ``evaluation`` with the name of the
        measured ``model``, the ``champion`` that submits, and the ``submission``'s folder.

    Raises:
        InputError: an artefact is not there yet, or an earlier version's.
    """
    submission = workspace.current_folder(SUBMISSION)
    return {
        "evaluation": _evaluation(workspace.folder("evaluation_report") / "metrics.json"),
        "coverage": read_json(workspace.folder("coverage_report") / "coverage.json")["modalities"],
        "collisions": read_json(workspace.folder("codebook") / "report.json"),
        "model": workspace.current_folder(CHAMPION).name,
        "champion": workspace.input_folder(CHAMPION).name,
        "submission": str(submission),
    }


def write_report(workspace: Workspace) -> str:
    """Coverage, collisions, metrics and the newest submission, as text.

    Raises:
        InputError: an artefact is not there yet, or an earlier version's.
    """
    facts = read_facts(workspace)
    submission, evaluation = Path(facts["submission"]), facts["evaluation"]
    browse = "make ui" if has_defaults(workspace) else follow_up(workspace, "ui")
    parts = [
        "Coverage: items with a valid vector, of all items",
        coverage_table(list(facts["coverage"].items())),
        "Collisions: items that share their semantic ID, before and after re-assignment",
        collision_table(facts["collisions"]),
        who_competes(evaluation),
        _metrics(evaluation),
        "\n".join(filter(None, [compare_cascade(evaluation)[1], without_being_told(evaluation)]))
        + _who_submits(workspace),
        f"Submission  {submission / RESULT}",
        f"Manifest    {submission / 'manifest.json'}",
        f"Lineage     {submission / 'lineage.html'} (or: {follow_up(workspace, 'lineage')})",
        f"Explain     {follow_up(workspace, 'explain', _first_user(submission))}",
        f"Open the pipeline in a browser: {browse}, then http://127.0.0.1:3000",
    ]
    return "\n\n".join([*parts[:7], "\n".join(parts[7:])])


def _evaluation(file: Path) -> Mapping[str, Any]:
    metrics = read_json(file)
    if missing := _NEEDED - metrics.keys():
        raise InputError(
            f"{file}: written by another version ({', '.join(sorted(missing))} missing); "
            "materialise evaluation_report again"
        )
    return metrics


def who_competes(evaluation: Mapping[str, Any]) -> str:
    """Which targets were ranked, and among which candidates."""
    allowed, candidates = evaluation["allowed_items"], evaluation["candidates"]
    among = f"{allowed:,} of {candidates:,}" if allowed < candidates else f"{candidates:,}"
    actions = [ACTIONS[number] for number in evaluation["masked_actions"]]
    masked = f"items of own {' and '.join(actions)} masked" if actions else "seen items not masked"
    if len(actions) == len(ACTIONS):
        masked = "seen items masked"
    said = f"Held-out target of {evaluation['users']:,} users, ranked among {among} candidates"
    said += f", {masked}"
    lost = {
        "are no candidates": evaluation["targets_not_candidates"],
        "had been seen before": evaluation["cascade_losses"]["seen_filtered"]["users"],
    }
    told = [f"{users:,} {reason}" for reason, users in lost.items() if users]
    return said + (f"; of the targets {' and '.join(told)}, which count as missed" if told else "")


def _who_submits(workspace: Workspace) -> str:
    """A sentence where the model that was measured is not the one that submits."""
    latest = JudgedModel.load(workspace.current_folder(CHAMPION))
    champion = JudgedModel.load(workspace.input_folder(CHAMPION))
    if latest.folder == champion.folder:
        return ""
    measurement = measure_of_champion(workspace)
    cascade = measurement.metrics["cascade"]
    shown = ", ".join(f"{name} {cascade[key]:.4f}" for key, name in METRICS.items())
    decision = latest.decision
    reason = "It was rolled away from." if decision.promoted else decision.reason
    return (
        f"\n\nThese are the figures of {latest.folder.name}, which does not submit: {reason}\n"
        f"The submission is of the champion, {champion.folder.name}: {shown}"
        f"{measured_with(asdict(measurement))}."
    )


def _first_user(submission: Path) -> str:
    return first_value(submission / TABLE, "user_id")


def coverage_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Rows of the coverage report, by modality."""
    shown = [
        [name, f"{row['covered']:,}", f"{row['total']:,}", f"{row['rate']:.3%}"]
        for name, row in rows
    ]
    return columns(["modality", "covered", "total", "rate"], shown)


def collision_table(report: Sequence[Mapping[str, Any]]) -> str:
    """Rows of a codebook's report, before and after re-assignment.

    Where IDs may be shared (``codebook.capacity`` above 1), a column tells how many items are still
    too many for theirs.
    """
    shared = any(row["after"]["over_capacity"] != row["after"]["conflicts"] for row in report)
    rows = [
        [
            row["source"],
            f"{row['before']['conflicts']:,}",
            f"{row['before']['conflict_rate']:.3%}",
            f"{row['before']['unique_pairs']:,}",
            f"{row['after']['conflicts']:,}",
            f"{row['after']['conflict_rate']:.3%}",
            f"{row['after']['unique_pairs']:,}",
            *([f"{row['after']['over_capacity']:,}"] if shared else []),
        ]
        for row in report
    ]
    counts = ("rate", "distinct IDs")
    header = ["source", "before", *counts, "after", *counts]
    return columns(header + ["over capacity"] * shared, rows)


def _metrics(evaluation: Mapping[str, Any]) -> str:
    rows = [
        [path, *(f"{evaluation[path][name]:.4f}" for name in METRICS)]
        for path in PATHS
        if path in evaluation
    ]
    return columns(["", *METRICS.values()], rows)
