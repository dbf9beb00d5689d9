"""From a point's name to the parameters of its training."""

import pytest

from model.errors import InputError
from model.params import ScalingStudyParams
from model.scaling.grid import Point
from tests.model.small_network import pipeline_params


@pytest.mark.parametrize(
    "name",
    ["joint_l4_d64_e8_f100_s0", "infonce_only_l40_d512_e0_f5_s12", "sid_only_l1_d8_e1_f50_s3"],
)
def test_a_name_says_everything(name):
    assert Point.parse(name).name == name


def test_the_protocols():
    params = pipeline_params()
    joint = Point.parse("joint_l3_d24_e4_f100_s7").apply(params)
    assert (joint.network.num_layers, joint.network.dim, joint.network.num_heads) == (3, 24, 3)
    assert joint.network.feed_forward.kind == "moe"
    assert joint.network.feed_forward.num_experts == 4
    assert joint.network.feed_forward.hidden_dim == 24  # as wide for its width as in the file
    assert joint.network.num_decoder_layers == params.network.num_decoder_layers
    assert joint.seed == 7
    assert not joint.recommender_checkpoint.initialize_from_encoder
    infonce = Point.parse("infonce_only_l2_d8_e0_f100_s0")
    assert infonce.apply(params).encoder_checkpoint.loss.sid_weights == []
    assert infonce.apply(params).network.feed_forward.kind == "none"
    sid = Point.parse("sid_only_l2_d8_e1_f100_s0").apply(params)
    assert sid.recommender_checkpoint.loss.infonce_weight == 0.0
    assert sid.network.num_decoder_layers == 2  # the paper's decoder is as deep as its encoder
    assert sid.network.feed_forward.kind == "dense"


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match=r"joint_l1_d12_.* has width 12, .* no multiple of 8, "):
        Point.parse("joint_l1_d12_e1_f100_s0").apply(pipeline_params())


def test_a_loss_that_the_file_switches_off_is_refused():
    values = pipeline_params().model_dump(mode="json")
    values["recommender_checkpoint"]["loss"]["infonce_weight"] = 0.0
    params = type(pipeline_params()).model_validate(values)
    with pytest.raises(InputError, match=r"recommender_checkpoint\.loss\.infonce_weight \(0\.0\)"):
        Point.parse("joint_l1_d8_e1_f100_s0").apply(params)
    assert Point.parse("sid_only_l1_d8_e1_f100_s0").apply(params)


@pytest.mark.parametrize(
    ("points", "protocols", "told"),
    [
        (["joint_l1_d8_e1_f101_s0"], ["joint"], "points names 'joint_l1_d8_e1_f101_s0'"),
        (["joint_l1_d8_e1_f0_s0"], ["joint"], "without leading zeros"),
        (["joint_l1_d8_e1_f100_s0"] * 2, ["joint"], "names a point twice"),
        ([f"joint_l1_d8_e1_f100_s{2**31}"], ["joint"], "and up to 2147483647"),
        (["joint_l1_d8_e1_f100_s0"], [], "protocols must name the protocols of points"),
        ([], ["joint"], "protocols must name the protocols of points"),
    ],
)
def test_a_wrong_list_is_refused(points, protocols, told):
    with pytest.raises(ValueError, match=told):
        ScalingStudyParams(protocols=protocols, points=points, bootstrap_samples=10, confidence=0.9)
