"""The sentence about the cascade and embedding search."""

import pytest

from model.inference.comparison import UNTOLD, compare_cascade, without_being_told
from model.inference.loss_funnel import Fate

LOSS = (-0.002, -0.003, -0.001)


def test_what_the_cascade_is_worth_untold_is_said_where_anybody_was_asked_otherwise():
    found = {"users": 3, "hr@10": 0.25, "ndcg@10": 0.125, "score": 0.16375}
    said = without_being_told({UNTOLD: found})
    assert "HR@10 0.2500, NDCG@10 0.1250, score 0.1638" in said
    assert without_being_told({UNTOLD: found | {"users": 0}}) == ""


def judged(difference, low, high, *, beam_weight=0.0, tuned=False, facts=None, **shares):
    fates = {fate.name.lower(): 0.0 for fate in Fate}
    fates |= {"not_among_beams": 0.253, "ranked_below_ten": 0.5} | shares
    losses = {fate: {"share": share, "users": round(1000 * share)} for fate, share in fates.items()}
    return compare_cascade(
        {
            "cascade_minus_embedding": {"ndcg@10": difference, "ci95": {"ndcg@10": [low, high]}},
            "cascade_losses": losses,
            "beam_weight": beam_weight,
            "beam_weight_tuned": tuned,
            "users": 1000,
            "search_alone": False,
        }
        | (facts or {})
    )


@pytest.mark.parametrize(
    ("difference", "low", "high", "keeps_up", "told"),
    [
        (0.002, 0.001, 0.003, True, "it wins"),
        (-0.0001, -0.0004, 0.0002, True, "no difference beyond chance"),
        (0.0, 0.0, 0.0, True, "no difference beyond chance"),
        (*LOSS, False, "it loses. 25.3% of the targets"),
    ],
)
def test_the_interval_decides(difference, low, high, keeps_up, told):
    verdict, sentence = judged(difference, low, high)
    assert verdict is keeps_up
    assert told in sentence
    assert f"{difference:+.5f} (95 % interval {low:+.5f} to {high:+.5f})" in sentence
    assert ("cascade.num_sids" in sentence) is not keeps_up


@pytest.mark.parametrize(
    ("world", "named"),
    [
        ({}, ["num_sids"]),
        ({"beam_weight": 0.4, "not_among_beams": 0.0}, ["beam_weight to 0"]),
        ({"capped": 0.04, "not_among_beams": 0.0}, ["max_per_group to 0"]),
        ({"beam_weight": 0.4}, ["beam_weight to 0", "num_sids"]),
        (
            {"beam_weight": 0.4, "capped": 0.04},
            ["max_per_group to 0", "beam_weight to 0", "num_sids"],
        ),
    ],
)
def test_a_loss_names_the_parameters_that_make_it(world, named):
    remedies = ("max_per_group to 0", "beam_weight to 0", "num_sids")
    _, sentence = judged(*LOSS, **world)
    assert [remedy for remedy in remedies if f"cascade.{remedy}" in sentence] == named
    assert sorted(named, key=sentence.index) == named


def test_a_tuned_weight_is_not_told_to_be_tuned():
    assert judged(*LOSS, beam_weight=0.4)[1].count("or to validation") == 1
    assert "or to validation" not in judged(*LOSS, beam_weight=0.4, tuned=True)[1]


def test_a_target_that_search_brings_in_late_was_not_proposed():
    _, sentence = judged(*LOSS, not_among_beams=0.0, hit_by_back_fill=0.1)
    assert "10.0% of the targets are not among the beams" in sentence


def test_search_alone_loses_by_its_index_not_by_beams():
    facts = {"search_alone": True, "search": {"kind": "ivf", "recall@10": 0.96}}
    _, sentence = judged(*LOSS, not_among_beams=0.0, hit_by_back_fill=0.1, facts=facts)
    assert sentence.endswith(
        "it loses. The index finds 96.0% of the true ten: set cascade.search to exact, or "
        "cascade.num_sids above 0."
    )


def test_exact_search_alone_is_not_told_to_be_exact():
    facts = {"search_alone": True, "search": {"kind": "exact"}}
    _, sentence = judged(*LOSS, not_among_beams=0.0, facts=facts)
    assert "cascade.search" not in sentence


def test_where_no_target_can_be_found_no_model_is_blamed():
    nobody = {"not_among_beams": 0.0, "ranked_below_ten": 0.0}
    keeps_up, sentence = judged(
        0.0, 0.0, 0.0, **nobody, not_a_candidate=0.9, cold_filtered=0.05, seen_filtered=0.05
    )
    assert keeps_up
    assert "none of the 1,000 targets may be recommended" in sentence
    assert "900 are no candidates, 50 are cold, 50 have been seen" in sentence


def test_shares_stand_beside_the_parameter_they_speak_for():
    _, sentence = judged(*LOSS, beam_weight=0.4, capped=0.04)
    assert sentence.endswith(
        "it loses. 4.0% of the targets are left out by the cap on their group: set "
        "cascade.max_per_group to 0. 50.0% of the targets are among the beams but ranked below "
        "ten, with a beam weight of 0.4: set cascade.beam_weight to 0, or to validation. 25.3% of "
        "the targets are not among the beams: raise cascade.num_sids and cascade.beam_width, or "
        "recommender_checkpoint.epochs."
    )
