"""The whole network: causality, masks, one query as in the row."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from model.dataset.packing import Windows
from model.errors import InputError
from model.network.onepiece import OnePiece, count_parameters
from model.network.tables import feature_key, feature_tables
from model.network.unit import unit
from tests.model.small_network import network_params

PARAMS = network_params()


def _sids(data, batch):
    return torch.from_numpy(data.codes)[batch.target_ids].long()


def test_the_last_query_alone_is_what_it_was_in_the_row(data):
    """Decoding one query with shared keys and values gives what the training pass gave there."""
    network = data.network(PARAMS).eval()
    batch = data.training_batch(PARAMS)
    sids = _sids(data, batch).clamp(min=1)
    with torch.no_grad():
        encoded = network.encode(batch)
        queries = network.decoder(encoded.hidden, encoded.plan, sids)
        state = network.start_decoding(encoded)
        first = network.decoder.level1_logits(state)
        second = network.decoder.expand(state, sids[batch.last][:, None, :1])[:, 0]
    weight, bias = network.decoder.output_weight(1), network.decoder.output_bias(1)
    expected = queries[0][batch.last] @ weight[1:].T + bias[1:]
    assert torch.allclose(first, expected, atol=1e-5)
    assert torch.allclose(second, queries[1][batch.last], atol=1e-5)


def test_a_row_is_the_same_alone_and_among_others(data):
    """No padding, no leak between rows."""
    network = data.network(PARAMS).eval()
    dataset = data.dataset(PARAMS)
    users = dataset.training_users()
    with torch.no_grad():
        together = network.encode(dataset.assemble(dataset.training_windows(users)))
        offsets = together.plan.offsets
        for row in (0, 3, len(users) - 1):
            alone = network.encode(dataset.assemble(dataset.training_windows(users[row : row + 1])))
            part = slice(int(offsets[row]), int(offsets[row + 1]))
            assert torch.allclose(together.hidden[part], alone.hidden, atol=1e-5)


def test_no_token_sees_a_later_event(data):
    """Shorten a history: what is before the cut stays, but for what is asked next."""
    params = network_params(features={"next_action": False})
    network = data.network(params).eval()
    dataset, interactions = data.dataset(params), data.interactions
    user = int(np.argmax(np.diff(interactions.offsets)))
    begin, end = int(interactions.offsets[user]), int(interactions.offsets[user + 1])
    begin = max(begin, end - params.max_length)
    with torch.no_grad():
        whole, cut = (
            network.encode(
                dataset.assemble(
                    Windows(np.array([user]), np.array([begin]), np.array([last]), np.array([1]))
                )
            ).hidden
            for last in (end, end - 3)
        )
    assert torch.allclose(whole[: len(cut)], cut, atol=1e-5)
    assert not torch.allclose(whole[-1], cut[-1], atol=1e-3)


def test_the_next_action_changes_the_query_and_an_exposure_asks_for_nothing(data):
    network = data.network(PARAMS).eval()
    with torch.no_grad():
        network.context.tables["next_action"].weight[1:].normal_()
    batch = data.training_batch(PARAMS)
    hidden = {}
    with torch.no_grad():
        for action in (0, 1, 2):
            asked = torch.full_like(batch.next_actions, action)
            hidden[action] = network.encode(dataclasses.replace(batch, next_actions=asked)).hidden
    assert not torch.allclose(hidden[1], hidden[2], atol=1e-3)
    assert not network.context.tables["next_action"].weight[0].any()


def test_without_the_exposure_mask_an_exposure_asks_for_itself(data):
    params = network_params(features={"exposure_mask": False})
    network = data.network(params).eval()
    table = network.context.tables["next_action"]
    batch = data.training_batch(params)
    asked = torch.zeros_like(batch.next_actions)
    with torch.no_grad():
        before = network.encode(dataclasses.replace(batch, next_actions=asked)).hidden
        table.weight[1].normal_()
        after = network.encode(dataclasses.replace(batch, next_actions=asked)).hidden
        clicks = network.encode(dataclasses.replace(batch, next_actions=asked + 1)).hidden
        table.weight[1].normal_()
        again = network.encode(dataclasses.replace(batch, next_actions=asked + 1)).hidden
    assert not torch.allclose(before, after, atol=1e-3)
    assert torch.equal(clicks, again)


def test_candidates_may_point_anywhere_but_inputs_are_rectified(data):
    """The dual path: identity for targets and candidates, ReLU in the sequence."""
    network = data.network(PARAMS).eval()
    batch = data.training_batch(PARAMS)
    seen = {}
    network.layers[0].register_forward_pre_hook(lambda m, args: seen.update(x=args[0]))
    with torch.no_grad():
        network.encode(batch)
        vectors = unit(network.embed_items(batch.items))
    is_item = batch.token_items > 0
    assert (seen["x"][is_item] >= 0).all()
    assert (vectors < 0).any()
    assert (vectors > 0).any()


def test_without_the_dual_path_targets_are_rectified_as_the_sequence_is(data):
    params = network_params(features={"dual_path": False}, history_skip=3)
    network, dual = data.network(params).eval(), data.network(network_params(history_skip=3)).eval()
    dual.load_state_dict(network.state_dict())
    batch = data.training_batch(params)
    with torch.no_grad():
        encoded, vectors = network.encode(batch), network.embed_items(batch.items)
        free = dual.embed_items(batch.items)
        hidden = dual.encode(batch).hidden
    assert torch.equal(vectors, free.clamp(min=0))
    assert torch.equal(encoded.item_vectors, vectors)
    assert not torch.allclose(hidden, encoded.hidden)  # the history skip shows targets


@pytest.mark.parametrize(
    "switch",
    ["item_features", "user_features", "life_cycle", "popularity", "relative_time",
     "absolute_time", "action", "next_action"],
)  # fmt: skip
def test_every_feature_can_be_switched_off(data, switch):
    params = network_params(features={switch: False})
    network = data.network(params)
    assert torch.isfinite(network.encode(data.training_batch(params)).hidden).all()
    assert count_parameters(network) < count_parameters(data.network(PARAMS))


@pytest.mark.parametrize("without", ["parameter", "data"])
def test_users_without_features_leave_the_first_gradient_to_all_tokens(data, without):
    """A first state of zeros had a cosine's gradient of 1e12, which clipping paid with the rest."""
    params = network_params(features={"user_features": without == "data"}, history_skip=3)
    schema = data.schema()
    if without == "data":
        schema = dataclasses.replace(schema, user_scalars={}, user_arrays={})
    network = OnePiece(schema, params)
    batch = data.training_batch(params)
    hidden = network.encode(batch).hidden
    hidden.retain_grad()
    (unit(hidden) * torch.randn(hidden.shape[1], generator=torch.manual_seed(1))).sum().backward()
    lengths = hidden.grad.norm(dim=1)
    others = torch.ones_like(lengths, dtype=torch.bool).index_fill(0, batch.offsets[:-1], False)
    assert lengths[~others].max() < 100 * lengths[others].median()


def test_features_that_differ_in_a_dot_have_tables_of_their_own():
    sizes = {"a.b": 9, "a_b": 2, "type": 3}
    tables = feature_tables(sizes, 2)
    assert {name: len(tables[feature_key(name)].weight) - 1 for name in sizes} == sizes
    assert {"feature_a_b", "feature_type"} < set(tables)


def test_an_item_of_which_nothing_is_known_is_refused(data):
    params = network_params(
        features={"item_id_dim": 0, "hash_sizes": [], "modalities": [], "life_cycle": False}
    )
    bare = dataclasses.replace(data.schema(), item_scalars={}, item_arrays={})
    with pytest.raises(InputError, match=r"network\.features: .* set item_id_dim, hash_sizes"):
        OnePiece(bare, params)


def test_item_id_dropout_hides_whole_items_and_only_in_training(data):
    """A hidden item is what its content says; the ids of the others count for more instead."""
    params = network_params(features={"item_id_dropout": 0.5})
    tower, items = data.network(params).items, data.training_batch(params).items
    with torch.no_grad():
        tower.item_ids.weight[1:].normal_()
        whole, trained = tower.eval()(items), tower.train()(items)
        tower.item_ids.weight.mul_(2.0)
        for table in tower.hashes:
            table.weight.mul_(2.0)
        doubled = tower.eval()(items)
        for table in (tower.item_ids, *tower.hashes):
            table.weight.zero_()
        content = tower(items)

    def is_(other):
        return (trained - other).abs().amax(dim=1) < 1e-5

    real = items.ids > 0
    assert (is_(content) | is_(doubled))[real].all()
    assert is_(content)[real].any()
    assert is_(doubled)[real].any()
    assert not is_(whole)[real].any()


@pytest.mark.parametrize("kind", ["none", "dense", "moe"])
def test_every_parameter_learns(data, kind):
    """A gradient reaches all of them: nothing is made and never used."""
    params = network_params(feed_forward={"kind": kind})
    network = data.network(params)
    batch = data.training_batch(params)
    encoded = network.encode(batch)
    queries = network.decoder(encoded.hidden, encoded.plan, _sids(data, batch))
    heads = [
        (query @ network.decoder.output_weight(level).T + network.decoder.output_bias(level)).sin()
        for level, query in enumerate(queries, 1)
    ]
    loss = encoded.hidden.sin().sum() + encoded.item_vectors.sin().sum() + encoded.balance_loss
    (loss + sum(head.sum() for head in heads)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("num_shared", [1, 3])
def test_muon_gets_every_projection_of_every_expert_on_its_own(data, num_shared):
    network = data.network(
        network_params(feed_forward={"kind": "moe", "num_shared_experts": num_shared})
    )
    blocks = {name: count for name, (_, count) in network.hidden_matrices().items()}
    assert blocks["layers.0.uvqk.weight"] == 4
    assert blocks["layers.0.feed_forward.inner.w1"] == 2
    assert blocks["layers.0.feed_forward.inner.w2"] == 1
    assert blocks["layers.0.feed_forward.inner.shared.w1"] == 2 * num_shared
    assert blocks["layers.0.feed_forward.inner.shared.w2"] == 1
    assert not any("gate" in name or "head" in name for name in blocks)


@pytest.mark.parametrize("kind", ["none", "dense", "moe"])
def test_layers_can_begin_as_the_identity_and_leave_it(data, kind):
    params = network_params(
        zero_init_residual=True, num_layers=3, history_skip=0, feed_forward={"kind": kind}
    )
    torch.manual_seed(0)
    network = OnePiece(data.schema(), params)
    batch = data.training_batch(params)
    through = {name: [] for name in ("input", "output")}
    network.layers[0].register_forward_pre_hook(lambda _, given: through["input"].append(given[0]))
    network.layers[-1].register_forward_hook(lambda *made: through["output"].append(made[2][0]))
    optimizer = torch.optim.SGD(network.layers.parameters(), lr=0.1)
    matrices = {name: p for name, p in network.layers.named_parameters() if p.dim() > 1}
    before = {name: matrix.detach().clone() for name, matrix in matrices.items()}
    for _ in range(2):
        optimizer.zero_grad()
        encoded = network.encode(batch)
        (encoded.hidden.sin().sum() + encoded.balance_loss).backward()
        optimizer.step()
    assert torch.equal(through["input"][0], through["output"][0])
    assert not torch.equal(through["input"][1], through["output"][1])
    assert [name for name, matrix in matrices.items() if torch.equal(matrix, before[name])] == []


def test_large_tables_give_sparse_gradients():
    from model.network.tables import SPARSE_FROM_ROWS, embedding_table

    small, large = embedding_table(10, 4), embedding_table(SPARSE_FROM_ROWS, 4)
    assert not small.sparse
    assert large.sparse
    assert isinstance(large, nn.Embedding)
    assert not large.weight[0].any()
