"""How large a network is and what its training costs, counted from its modules.

A training step is taken to cost three times its forward pass. Only matrix products are counted: two
FLOPs per weight and use, the scores and weighted sums of the attention, and the logits of InfoNCE;
look-ups, norms and activations are not. Item features go through their tower once per distinct item
of a step, user features once per row.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from model.dataset.schema import FeatureSchema
from model.dataset.sequences import Batch
from model.network.hstu import CrossHSTULayer, HSTULayer
from model.network.moe import SparseMoE
from model.network.onepiece import OnePiece, count_parameters
from model.scaling.point import Size, Workload

if TYPE_CHECKING:
    from model.params import NetworkParams

FORWARD_AND_BACKWARD = 3


def measure_size(network: OnePiece) -> Size:
    """Count the parameters of a network, on any device."""
    parameters = count_parameters(network)
    return Size(
        total=sum(p.numel() for p in network.parameters()),
        parameters=parameters,
        active=parameters - sum(_idle(experts) for experts in network.experts()),
    )


def published_parameters(network: OnePiece) -> int:
    """The size that the paper would state: outside embedding tables, with an unused block.

    The released code creates one block beside its layers and never calls it: an attention of four
    projections, a feed-forward part of twice the width, and two norms, all with biases.

    Args:
        network: of the paper's form.
    """
    dim = network.norm.weight.shape[0]
    attention, feed_forward, norms = 4 * dim * (dim + 1), dim * (4 * dim + 3), 2 * 2 * dim
    return count_parameters(network) + attention + feed_forward + norms


def measure_workload(batches: Sequence[Batch]) -> Workload:
    """Measure the micro-batches of one step."""
    lengths = torch.cat([batch.lengths for batch in batches]).double()
    tokens = float(lengths.sum())
    items = sum(len(batch.items.ids) for batch in batches)
    return Workload(
        rows=len(lengths) / tokens,
        items=items / tokens,
        attended=float((lengths * (lengths + 1) / 2).sum()) / tokens,
        negatives=items / len(batches),
    )


def training_flops_per_token(network: OnePiece, workload: Workload, *, infonce: bool) -> float:
    """FLOPs of forward and backward pass, divided by the tokens.

    Args:
        network: trained.
        workload: of its steps.
        infonce: whether InfoNCE is trained.
    """
    dim = network.norm.weight.shape[0]
    per_item, per_row = count_parameters(network.items), count_parameters(network.users)
    per_token = measure_size(network).active - per_item - per_row
    products = per_token + per_item * workload.items + per_row * workload.rows
    layers = sum(isinstance(one, HSTULayer | CrossHSTULayer) for one in network.modules())
    attention = 2 * layers * dim * workload.attended
    logits = dim * workload.negatives if infonce else 0.0
    return FORWARD_AND_BACKWARD * 2 * (products + attention + logits)


def network_without_weights(schema: FeatureSchema, params: "NetworkParams") -> OnePiece:
    """Build a network on the meta device, where its weights take no memory."""
    with torch.device("meta"):
        return OnePiece(schema, params)


def _idle(experts: SparseMoE) -> int:
    """Weights of the routed experts that are inactive for a token."""
    number = len(experts.gate)
    return (experts.w1.numel() + experts.w2.numel()) * (number - experts.top_k) // number
