"""From the parameter file to Optuna's values and back."""

import optuna
import pytest

from assets.tuning.space import changed, require_valid_bounds, suggest, touches_codebook
from model.errors import InputError
from model.params import Params
from tests.orchestration.tiny_world import tiny_params

FLOAT = {"kind": "float", "low": 0.001, "high": 0.1, "log": True}
INTEGER = {"kind": "int", "low": 1, "high": 3, "log": False}
SIZES = {"kind": "categorical", "choices": [[16, 16], [32, 32]]}


def _params(space, **settings):
    training = settings.pop("training", "recommender_checkpoint")
    update = {"space": space, "training": training, **settings}
    return Params.model_validate(tiny_params(tuning_study=update))


def test_every_kind_is_drawn_within_its_range_and_given_as_a_parameter():
    space = {"optimizer.muon_lr": FLOAT, "network.num_layers": INTEGER, "codebook.sizes": SIZES}
    params = _params(space)
    study = optuna.create_study()
    for _ in range(20):
        drawn = suggest(study.ask(), params)
        assert 0.001 <= drawn["optimizer.muon_lr"] <= 0.1
        assert drawn["network.num_layers"] in (1, 2, 3)
        assert drawn["codebook.sizes"] in ([16, 16], [32, 32])
        assert changed(params, drawn).codebook.sizes == drawn["codebook.sizes"]


def test_all_else_stays():
    params = _params({"optimizer.muon_lr": FLOAT})
    other = changed(params, {"optimizer.muon_lr": 0.5})
    assert other.optimizer.muon_lr == 0.5
    assert changed(other, {"optimizer.muon_lr": params.optimizer.muon_lr}) == params


def test_values_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="dim 16 is not a multiple of num_heads 3"):
        changed(_params({"optimizer.muon_lr": FLOAT}), {"network.num_heads": 3})


def test_an_end_that_is_no_allowed_value_is_named():
    wide = {"kind": "float", "low": 0.0, "high": 1.5, "log": False}
    with pytest.raises(InputError, match=r"network\.dropout cannot be 1\.5"):
        require_valid_bounds(_params({"network.dropout": wide}))
    heads = {"kind": "categorical", "choices": [2, 3]}  # 3 may go with another drawn value
    require_valid_bounds(_params({"network.num_heads": heads}))


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"optimizer.muon_rate": FLOAT}, "optimizer.muon_rate: there is no such key"),
        ({"raw_data.source": FLOAT}, "space names raw_data.source"),
        ({"recommender_checkpoint.epochs": FLOAT}, "the study itself sets epochs"),
        ({"optimizer.muon_lr": FLOAT | {"low": 1.0}}, "low must not be above high"),
        ({"optimizer.muon_lr": FLOAT | {"low": 0.0}}, "above 0 where log is true"),
        ({"optimizer.muon_lr": FLOAT | {"kind": "normal"}}, "'categorical'"),
        ({}, "at least 1 item"),
        (
            {"network.feed_forward.hidden_dim": SIZES, "network.feed_forward": SIZES},
            "space names network.feed_forward and network.feed_forward.hidden_dim within it",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_the_file(space, told):
    with pytest.raises(ValueError, match="validation error") as refusal:
        _params(space)
    assert told in str(refusal.value)


def test_the_encoder_knows_no_codebook():
    with pytest.raises(ValueError, match=r"space names codebook\.sizes"):
        _params({"codebook.sizes": SIZES}, training="encoder_checkpoint")
    assert touches_codebook({"codebook.sizes": [1, 2]})
    assert not touches_codebook({"optimizer.muon_lr": 0.1})
