"""Sizes and costs counted from modules."""

from pathlib import Path

import pytest
import torch

from model.dataset.schema import FeatureSchema
from model.network.onepiece import OnePiece
from model.params import Params
from model.scaling.point import Workload
from model.scaling.size import (
    measure_size,
    measure_workload,
    network_without_weights,
    published_parameters,
    training_flops_per_token,
)
from tests.model.small_network import network_params

ROOT = Path(__file__).parents[3]
PUBLISHED = {  # millions, by the paper's study and layers
    ("infonce", (8, 16, 24, 32, 40)): (15.2, 25.7, 36.3, 46.8, 57.3),
    ("sid", (4, 8, 12, 16, 20)): (34.1, 44.6, 55.1, 65.7, 76.2),
}
WORK = Workload(rows=0.1, items=0.5, attended=6.0, negatives=100.0)


@pytest.fixture(scope="module")
def schema(data):
    return data.schema()


def test_a_network_without_weights_counts_like_a_real_one(schema):
    params = network_params(num_layers=2)
    real, hollow = OnePiece(schema, params), network_without_weights(schema, params)
    assert measure_size(hollow) == measure_size(real)
    assert all(parameter.is_meta for parameter in hollow.parameters())
    size = measure_size(real)
    tables = sum(m.weight.numel() for m in real.modules() if isinstance(m, torch.nn.Embedding))
    assert size.total == size.parameters + tables


@pytest.mark.parametrize(
    ("study", "layers", "millions"),
    [
        (study, *pair)
        for (study, layers), sizes in PUBLISHED.items()
        for pair in zip(layers, sizes, strict=True)
    ],
)
def test_sizes_are_the_published_ones(study, layers, millions):
    """The delivered parameter files of the paper's studies, on features like TencentGR's."""
    params = Params.load(ROOT / "params" / f"paper_{study}_{layers}_layers.yaml")
    items = (100, 117, 118, 101, 102, 119, 120, 114, 112, 121, 115, 122, 116)
    schema = FeatureSchema(
        num_items=50,
        item_scalars={str(name): 3 for name in items},
        item_arrays={},
        user_scalars=dict.fromkeys(("103", "104", "105", "109"), 3),
        user_arrays=dict.fromkeys(("106", "107", "108", "110"), 3),
        num_time_buckets=7,
        modality_widths={"81": 32},
        sid_sizes=tuple(params.codebook.sizes) if study == "sid" else (),
        vocabulary_hash="",
    )
    network = network_without_weights(schema, params.network)
    assert published_parameters(network) / 1e6 == pytest.approx(millions, rel=0.01)


def test_only_the_experts_that_answer_are_active(schema):
    def size(experts):
        return measure_size(
            network_without_weights(
                schema, network_params(feed_forward={"num_experts": experts, "top_k": 2})
            )
        )

    four, eight = size(4), size(8)
    gate = 4 * 16  # the gate's rows for four more experts
    assert eight.active == four.active + gate
    assert eight.parameters > four.parameters
    assert size(2).active == size(2).parameters


def test_flops_of_one_more_layer(schema):
    """Its weights twice and the attention, three times over."""
    flops, sizes = [], []
    for layers in (1, 2):
        params = network_params(num_layers=layers, feed_forward={"kind": "none"})
        network = network_without_weights(schema, params)
        flops.append(training_flops_per_token(network, WORK, infonce=True))
        sizes.append(measure_size(network).parameters)
    attention = 2 * 2 * 16 * WORK.attended
    assert flops[1] - flops[0] == pytest.approx(3 * (2 * (sizes[1] - sizes[0]) + attention))


def test_flops_of_the_logits_of_infonce(schema):
    network = network_without_weights(schema, network_params())
    both = [training_flops_per_token(network, WORK, infonce=trained) for trained in (True, False)]
    assert both[0] - both[1] == pytest.approx(3 * 2 * 16 * WORK.negatives)


def test_the_workload_of_a_step(data):
    batch = data.training_batch(network_params())
    work = measure_workload([batch, batch])
    tokens = len(batch.rows)
    assert work.rows == pytest.approx(batch.num_rows / tokens)
    assert work.negatives == len(batch.items.ids)
    lengths = batch.lengths.double()
    assert work.attended == pytest.approx(float((lengths * (lengths + 1)).sum()) / 2 / tokens)
