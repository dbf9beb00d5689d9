"""What the planner recommends for a budget."""

import pytest

from model.errors import InputError
from model.scaling.costs import CostModel, frontier
from model.scaling.planner import Budget, best_ratio, candidate_models, make_plan
from tests.model.scaling.fake_study import (
    EPOCH_TOKENS,
    fake_points,
    fake_study,
    measure,
    true_loss,
)


@pytest.fixture(scope="module")
def study():
    return fake_study(fake_points())


@pytest.fixture(scope="module")
def with_data():
    return fake_study(fake_points(seeds=(0,), percents=(25, 50, 100)))


def _plan(study, **budget):
    return make_plan(study, candidate_models(study, measure, 8), Budget(**budget))


def test_a_larger_budget_buys_a_larger_model_and_lower_losses(study):
    plans = [_plan(study, flops=flops) for flops in (3e11, 3e12, 3e13)]
    sizes = [plan.candidate.parameters for plan in plans]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    for plan, budget in zip(plans, (3e11, 3e12, 3e13), strict=True):
        assert plan.flops <= budget * 1.000001
        assert plan.tokens == EPOCH_TOKENS  # a law in size alone holds for whole epochs
    for smaller, larger in zip(plans[0].expectations, plans[-1].expectations, strict=True):
        assert larger.expected < smaller.expected


def test_what_it_expects_is_what_comes_true(study):
    plan = _plan(study, flops=3e12)
    for one in plan.expectations:
        truth = true_loss(one.loss, plan.candidate.parameters, plan.tokens)
        assert one.low - 0.02 <= truth <= one.high + 0.02
        assert one.low <= one.expected <= one.high


def test_hours_are_those_of_the_measured_throughput(study):
    plan = _plan(study, device_hours=0.05)
    assert plan.device == "cpu"
    assert plan.device_hours <= 0.05 * 1.000001
    seconds = plan.tokens * (plan.candidate.flops_per_token + 1e6) / 2e10  # as the fake points took
    assert plan.device_hours == pytest.approx(seconds / 3600, rel=1e-3)


def test_with_a_law_in_data_a_part_of_the_epoch_may_be_better(with_data):
    plan = _plan(with_data, flops=2e11)
    assert plan.tokens < EPOCH_TOKENS
    assert any("of one epoch" in remark for remark in plan.remarks)


def test_where_the_law_is_flat_nothing_larger_is_recommended():
    study = fake_study(fake_points(form="saturating"), samples=5)
    plan = _plan(study, flops=1e15)
    assert plan.candidate.parameters < 6 * max(row["parameters"] for row in study.table)
    assert any("larger models would gain less" in remark for remark in plan.remarks)


def test_a_budget_that_is_left_over_is_explained(study, with_data):
    told = "one epoch of the study's data, the most that is planned"
    assert told in _plan(study, flops=3e13).remarks
    assert told not in _plan(with_data, flops=2e11).remarks


def test_an_extrapolation_is_called_one(study):
    plan = _plan(study, flops=3e13)
    assert any("times the largest size that was measured" in remark for remark in plan.remarks)


def test_shapes_are_those_of_the_frontier(study):
    ratios = [row["width"] / row["layers"] for row in frontier(study.table, "infonce")]
    assert min(ratios) <= best_ratio(study) <= max(ratios)
    for one in candidate_models(study, measure, 8):
        assert one.width % 8 == 0
        assert abs(one.width - best_ratio(study) * one.layers) <= 12


def test_a_budget_for_nothing_is_refused(study):
    with pytest.raises(InputError, match=r"one epoch of it needs .* FLOPs or .* hours on cpu"):
        _plan(study, flops=1e6)


def test_without_a_law_there_is_no_plan():
    flat = fake_study(fake_points(form="flat"), samples=2)
    with pytest.raises(InputError, match="no loss of joint follows a power law"):
        _plan(flat, flops=1e12)


def test_costs_follow_the_points(study):
    costs = CostModel.of(study.table)
    assert costs.seconds_per_flop == pytest.approx(1 / 2e10, rel=1e-3)
    assert costs.overhead == pytest.approx(1e6 / 2e10, rel=1e-2)
