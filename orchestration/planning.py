"""`onepiece plan`: the recommended size of the next model, by the laws of the scaling study."""

from assets.workspace import Workspace
from model.errors import InputError
from model.scaling.grid import Point
from model.scaling.planner import Budget, Plan, candidate_models, make_plan, network_measure
from model.scaling.study import ScalingStudy
from model.training.inputs import TrainingInputs
from orchestration.text_table import columns

STUDY = "scaling_study"


def plan(
    workspace: Workspace, *, flops: float | None, hours: float | None, protocol: str | None
) -> str:
    """Recommend a size for a budget.

    Args:
        workspace: holds the study and what it was made from.
        flops: budget of training FLOPs.
        hours: budget of device hours, instead.
        protocol: whose study; None where there is only one.

    Raises:
        InputError: no study, not exactly one budget, or one that is not above 0 or too small.
    """
    if (flops is None) == (hours is None):
        raise InputError("give one budget: --gpu-hours or --flops")
    if not (flops or hours or 0.0) > 0.0:  # nan is not above it either
        raise InputError(f"a budget is above 0; {hours if flops is None else flops} was given")
    chosen = _protocol(workspace, protocol)
    study = ScalingStudy.load(workspace.folder(STUDY, chosen))
    point = Point.parse(study.table[0]["point"])
    own = point.apply(workspace.params)
    schema = TrainingInputs.load(workspace.data, own, point.asset).schema
    network = workspace.params.network
    candidates = candidate_models(
        study, network_measure(study, workspace.params, schema), network.dim // network.num_heads
    )
    return _as_text(study, make_plan(study, candidates, Budget(flops, hours)))


def _protocol(workspace: Workspace, wanted: str | None) -> str:
    known = workspace.params.scaling_study.protocols
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None or wanted not in known:
        raise InputError(
            f"{workspace.params_file}: scaling_study.protocols has {', '.join(known) or 'none'}; "
            + ("name one of them with --protocol" if known else "make a study first")
        )
    return wanted


def _feed_forward(experts: int) -> str:
    return {0: "no feed-forward layers", 1: "dense feed-forward layers"}.get(
        experts, f"{experts} experts"
    )


def _as_text(study: ScalingStudy, made: Plan) -> str:
    model = made.candidate
    rows = [
        [
            one.loss,
            f"{one.expected:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
            f"{one.best_so_far:.4f}",
        ]
        for one in made.expectations
    ]
    facts = [
        f"Model     {model.layers} layers, width {model.width}, {_feed_forward(model.experts)}: "
        f"{model.parameters:,} parameters outside tables",
        f"Training  {made.tokens:,.0f} tokens, {made.flops:.3g} FLOPs",
        f"Time      {made.device_hours:.3g} hours of {made.device}",
    ]
    laws = columns(["loss", "expected", "interval", "best so far"], rows)
    remarks = [f"Note: {one}." for one in made.remarks]
    head = f"By the {study.protocol} study of {len(study.table)} points"
    return "\n\n".join([head, "\n".join(facts), laws, *remarks])
