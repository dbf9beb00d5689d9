"""One point from artefacts on disk: measured, interrupted, taken up, on a share of the users."""

import dataclasses

import numpy as np
import pytest

from model.scaling.grid import Point
from model.scaling.point import ScalingPoint
from model.scaling.training import make_point, with_share
from model.training.distributed import World
from model.training.inputs import TrainingInputs
from tests.model.small_network import CPU, SIZES, pipeline_params

ALONE = World(0, 1, CPU)
POINT = Point.parse("infonce_only_l2_d16_e0_f100_s3")


@pytest.fixture(scope="module")
def artefacts(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts")
    data.interactions.save(folder / "interactions")
    data.statistics.save(folder / "item_statistics")
    for name, embedding in data.embeddings.items():
        embedding.save(folder / "modality_embeddings" / name)
    return folder


def _params():
    values = pipeline_params().model_dump(mode="json")
    values["encoder_checkpoint"] |= {"batch_size": 8, "epochs": 3}
    return type(pipeline_params()).model_validate(values)


def _make(artefacts, folder, **options):
    return make_point(
        POINT,
        _params(),
        artefacts,
        ALONE,
        state_folder=folder / "state",
        out=folder / "point",
        **options,
    )


def _untimed(point):
    return dataclasses.replace(point, timing=dataclasses.replace(point.timing, seconds=0.0))


def test_interrupted_anywhere_it_ends_as_if_it_had_not_been(artefacts, tmp_path):
    assert _make(artefacts, tmp_path / "unbroken")
    steps = iter(range(1, 1000))
    assert not _make(artefacts, tmp_path / "broken", interrupted=lambda: next(steps) == 7)
    assert not (tmp_path / "broken" / "point").exists()
    assert _make(artefacts, tmp_path / "broken")
    whole, pieces = (ScalingPoint.load(tmp_path / one / "point") for one in ("unbroken", "broken"))
    assert _untimed(whole) == _untimed(pieces)
    assert not (tmp_path / "broken" / "state").exists()
    assert whole.losses == ("infonce",)
    assert whole.final_losses["infonce"]["steps"] == 3  # a fifth of fifteen
    assert 0.0 < whole.validation_losses["infonce"] < 10.0
    assert whole.metrics["embedding"]["hr@10"] > 0.0
    assert whole.steps == 15
    assert whole.flops == whole.flops_per_token * whole.tokens
    assert whole.timing.seconds > 0.0


def test_a_killed_measurement_repeats_no_step(artefacts, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("model.scaling.training._measure", killed)
        _make(artefacts, tmp_path)
    assert _make(artefacts, tmp_path, interrupted=lambda: pytest.fail("a step was repeated"))


def test_tokens_are_counted_as_the_batches_hold_them(data, artefacts, tmp_path):
    _make(artefacts, tmp_path)
    interactions = data.interactions
    lengths = np.asarray(interactions.train_end - interactions.offsets[:-1])
    tokens = np.minimum(lengths - 1, _params().network.max_length) + 1
    assert ScalingPoint.load(tmp_path / "point").tokens == 3 * int(tokens[lengths > 0].sum())


def test_a_smaller_share_lies_within_a_larger(data):
    inputs = TrainingInputs(
        data.interactions, data.statistics, data.embeddings, data.codes, SIZES, None, "content"
    )

    def users(percent, seed=1):
        interactions = with_share(inputs, percent, seed).interactions
        return set(np.flatnonzero(interactions.train_end > interactions.offsets[:-1]).tolist())

    assert users(25) < users(50) < users(100)
    assert users(50, seed=2) != users(50)
    assert with_share(inputs, 50, 1).content != with_share(inputs, 25, 1).content
