"""The reference of bench_loader holds what the store holds."""

import numpy as np
import pytest

from tests.benchmarks.event_loader import ITEM, USER, EventLoader
from tests.tiny import MODALITY_WIDTHS, NUM_KNOWN_ITEMS, NUM_USERS, write_tiny_world

LENGTH = 12  # shorter than some histories
NAMES = ("81", "82")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def loader(world):
    widths = {name: MODALITY_WIDTHS[name] for name in NAMES}
    return EventLoader(world.root("tencent_parquet"), widths, LENGTH)


def test_a_row_holds_the_newest_events_and_the_targets_after_them(world, loader):
    interactions, random = world.interactions(), np.random.default_rng(0)
    for user, number in enumerate(loader.histories):
        made = loader.sample(number, random)
        begin, end = interactions.offsets[user : user + 2]
        items = interactions.item_ids[begin:end]
        inputs, targets = items[:-1][-LENGTH - 1 :], items[-LENGTH - 1 :]
        whole = len(items) <= LENGTH + 1  # then the user has a place too
        assert made.sequence[made.kinds == ITEM].tolist() == inputs.tolist()
        assert made.positive[made.next_kinds == ITEM].tolist() == targets.tolist()
        assert (made.kinds == USER).sum() == whole
        assert made.next_actions[-1] == interactions.action_types[end - 1]
        negatives = made.negative[made.positive > 0]
        assert not np.isin(negatives, items).any()
        assert ((negatives >= 1) & (negatives <= NUM_KNOWN_ITEMS)).all()


def test_its_tensors_are_the_columns_of_the_store(world, loader, tmp_path):
    interactions, random = world.interactions(), np.random.default_rng(0)
    samples = [loader.sample(user, random) for user in loader.histories]
    batch = loader.collate(samples)
    names = [*loader.user_names, *loader.item_names, *NAMES]
    found = dict(zip(names, loader.tensors(batch), strict=False))
    sequence = batch["sequence"].numpy()
    assert sequence.shape == (NUM_USERS, LENGTH + 1)
    for name, column in interactions.items.scalars.items():
        assert np.array_equal(found[name].numpy(), column[sequence])
    for name in NAMES:
        embedding = world.modality_embedding(name, tmp_path / name)
        rows = embedding.row_of[sequence]
        vectors = np.where(rows[..., None] >= 0, embedding.matrix[rows], 0)
        assert np.array_equal(found[name].numpy(), vectors.astype(np.float32))
    users = interactions.users.scalars["103"][1:]
    assert np.array_equal(
        found["103"].numpy().max(axis=1)[batch["kinds"].eq(USER).any(1)],
        users[batch["kinds"].eq(USER).any(1)],
    )
